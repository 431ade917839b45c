"""A bound listener: a socket that clients connect to, with what the configuration says of it. A type only."""

import socket
from dataclasses import dataclass

from relayd.base.sections import Listener


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The socket stays the master's, which made it; each worker accepts from its own copy."""

    socket: socket.socket
    listener: Listener
