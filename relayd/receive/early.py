"""Early talk: whether a client has said something before it was greeted, as only those do that never listen."""

import asyncio
import fcntl
import termios

# What the system answers where nothing waits: a number of its own form.
_NOTHING = bytes(4)


def spoke_early(transport: asyncio.BaseTransport) -> bool:
    """Whether octets wait to be read already; they stay. Without a socket, nobody knows, and it has not."""
    socket = transport.get_extra_info("socket")
    if socket is None:
        return False
    try:
        # One system call, and no copy of the descriptor, which a peek would need with uvloop.
        waiting = fcntl.ioctl(socket.fileno(), termios.FIONREAD, _NOTHING)
    except (OSError, ValueError):
        # The socket is closed already.
        return False
    return waiting != _NOTHING
