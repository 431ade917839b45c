"""Events: what a server's session brings to whoever serves it, beside `Mail` and `Rcpt` of command.py.

Each waits for a verdict but `Content` and `Abandoned`. They refuse to know what the verdict will be.
"""

from dataclasses import dataclass, field

import msgspec

from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.reply import Reply


class StartTls(msgspec.Struct, frozen=True):
    """STARTTLS (RFC 3207): may TLS begin? The 220 is the last thing that is said in the clear.

    After it the session hears nothing until the handshake is done and `Session.secure` is called.
    """


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (RFC 4954): is this the user's password? `mechanism` is PLAIN or LOGIN."""

    mechanism: str
    user: str
    password: str = field(repr=False)


class Data(msgspec.Struct, frozen=True):
    """DATA or a first BDAT: may the transaction's mail data come?"""


class Content(msgspec.Struct, frozen=True):
    """The next octets of the mail data, without transparency dots. Needs no verdict."""

    octets: bytes


class EndOfData(msgspec.Struct, frozen=True):
    """The final dot, or the last chunk. `fault` is what the machine itself found wrong.

    It outranks a positive verdict; with a fault it may come after any chunk. `size` is the message's, in octets.
    """

    size: int
    fault: Reply | None


class Abandoned(msgspec.Struct, frozen=True):
    """RSET, HELO or EHLO between two chunks: the mail data that came will have no end. Needs no verdict."""


Event = Mail | Rcpt | StartTls | Auth | Data | Content | EndOfData | Abandoned
