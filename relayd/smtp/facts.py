"""The facts and the state of a server's session: what it is told at its start, and what it has heard so far.

Values only; they refuse to know what follows from them.
"""

from enum import Enum
from typing import Literal

import msgspec


class State(Enum):
    """What the session has heard so far; MAIL, RCPT, DATA and CHUNKS are inside a transaction."""

    START = "before HELO"
    READY = "no transaction"
    MAIL = "reverse-path given"
    RCPT = "a forward-path given"
    DATA = "mail data, up to the verdict on it"
    CHUNKS = "between two chunks of the mail data"
    TLS = "from the 220 to STARTTLS to the end of the handshake"
    CLOSED = "closed"

    # Enum's own is a function in Python, and each command looks into a table of states.
    __hash__ = object.__hash__


# By themselves: to look one up in an Enum of Python 3.11 costs six times as much as a name, and each command asks
# for ten.
START, READY, MAIL, RCPT, DATA, CHUNKS, TLS, CLOSED = State


class Facts(msgspec.Struct, frozen=True):
    """What a session is told at its start. Sizes in octets; `client_port` is what HELO answers with.

    `extended` says whether there is EHLO, and all that comes with it. `trusted` clients may relay, before they
    have named a user: for them, `normalize` mends bare LF in mail data, and `origin` is the domain of an address
    that has none. `starttls` is offered while the connection is not `secure`; `auth_in_clear` lets AUTH be used
    without TLS.
    """

    hostname: str
    version: str
    client_port: int
    extended: bool = True
    maximum_message: int = 50_000_000
    maximum_recipients: int = 1000
    normalize: bool = False
    trusted: bool = False
    origin: str | None = None
    starttls: bool = False
    secure: bool = False
    auth: Literal["off", "offered", "required"] = "off"
    auth_in_clear: bool = False
