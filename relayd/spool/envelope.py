"""An envelope: who sends one message to whom and how it came, as the first lines of its file.

A message file is the line `relayd 1`, the envelope as indented JSON, an empty line, and the mail data exactly
as it will be sent, without transparency dots. `unpack` raises NotSound for anything else.
"""

import re
from typing import Annotated, Literal

import msgspec

from relayd.spool.errors import NotSound
from relayd.spool.outcome import Instant

_FIRST_LINE = b"relayd 1\n"
_OTHER_FIRST_LINE = re.compile(rb"relayd ([0-9]{1,9})\n")
_END = b"\n\n"

# The wire form of an smtp Address. The pattern keeps a file that somebody edited from putting a line break
# into a command; the grammar was checked when the address came in. Beyond ASCII: RFC 6531.
# What may not stand there is named, since a class of all that may is slow to compile.
_NO_GLYPH = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
Path = Annotated[str, msgspec.Meta(pattern=rf"^[^{_NO_GLYPH}]{{1,320}}@[^{_NO_GLYPH}\x20@]{{1,255}}\Z")]

# The value of BODY (RFC 6152 section 2), and those of DSN (RFC 3461 section 4) as the client wrote them, in
# xtext, for the same reason.
Body = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,16}\Z")]
Notify = Annotated[
    str, msgspec.Meta(pattern=r"^(?:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*)\Z")
]
Xtext = Annotated[str, msgspec.Meta(pattern=rf"^[^{_NO_GLYPH}\x20]{{1,600}}\Z")]


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One forward-path; outcomes know it by its index in the envelope.

    `notify` and `orcpt` are the parameters of RFC 3461 section 4, where the client gave them: `notify` in capital
    letters, `orcpt` as it came, "rfc822;" and xtext.
    """

    address: Path
    notify: Notify | None = None
    orcpt: Xtext | None = None

    @property
    def domain(self) -> str:
        """The domain in lower case, or the literal in brackets."""
        return self.address.rpartition("@")[2].lower()

    @property
    def wants_success(self) -> bool:
        """Whether word of its success was asked for."""
        return self.notify is not None and "SUCCESS" in self.notify


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What travels beside the mail data (RFC 5321 section 2.3.1).

    `arrived` is UTC. `reverse_path` None is the null reverse-path. `session` names the session in the log;
    `client` is the address and port of the peer and `helo` its name for itself; all three are empty for a
    notification of our own; `user` is whom it has proved to be, empty for nobody. `body` is the parameter of RFC
    6152, `smtputf8` that of RFC 6531, `ret` and `envid` (in xtext) those of RFC 3461, where the client gave them.
    """

    arrived: Instant
    reverse_path: Path | None
    recipients: Annotated[tuple[Recipient, ...], msgspec.Meta(min_length=1)]
    session: str = ""
    client: str = ""
    helo: str = ""
    user: str = ""
    body: Body | None = None
    smtputf8: bool = False
    ret: Literal["FULL", "HDRS"] | None = None
    envid: Xtext | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def pack(envelope: Envelope) -> bytes:
    """The head of a message file: everything before the mail data."""
    return _FIRST_LINE + msgspec.json.format(_encoder.encode(envelope), indent=2) + _END


def head_end(start: bytes) -> int:
    """Where the mail data begins in a file that starts so, or -1 while the head is not whole; NotSound."""
    if not start.startswith(_FIRST_LINE):
        other = _OTHER_FIRST_LINE.match(start)
        if other is not None:
            raise NotSound(f"it is written in format {int(other[1])}, which this version does not read")
        raise NotSound("it does not begin with the line 'relayd 1'")
    end = start.find(_END)
    return end + len(_END) if end >= 0 else -1


def unpack(head: bytes) -> Envelope:
    """Read the head of a message file; raise NotSound."""
    try:
        return _decoder.decode(head[len(_FIRST_LINE) :])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotSound(f"its envelope cannot be read: {error}") from None
