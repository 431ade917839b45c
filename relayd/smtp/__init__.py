"""RFC 5321 as values and state machines: bytes in, events and bytes out.

This floor knows no socket, clock, file, log or event loop, and imports nothing of relayd's other floors.
What a peer says wrong becomes a `Reply`; an exception here is a bug of ours.
"""
