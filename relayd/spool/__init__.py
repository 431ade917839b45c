"""The durable queue: what a crash may interrupt is a file here, and everything else may be forgotten.

`protocol` says what a spool does; `intake` and `queue`, with the modules beside them, do it with one file a
message. The floor knows messages, outcomes and files; it refuses to know sockets, exchangers and the times of
attempts.
"""
