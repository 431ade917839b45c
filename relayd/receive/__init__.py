"""A worker: sockets, the session machine, and the way into the spool.

Pure decisions (who may relay, what the trace line says) stand apart from the connection that asks for them.
This floor never imports deliver; they meet in the spool.
"""
