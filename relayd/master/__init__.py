"""The master: binds the port, drops privileges, forks the children and watches over them.

It carries no mail. When it dies its children see the end of their channel, close the port and end by themselves.
"""
