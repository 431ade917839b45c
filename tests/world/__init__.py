"""The outside world of the live tests, on loopback: a DNS server, mail exchangers, Postfix's test programs.

Nothing here imports relayd, so that what relayd believes about SMTP and DNS is checked against other code.
"""
