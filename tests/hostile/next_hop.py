"""The next hops of the hostile tests: what each does, and what must become of the mail that meets it.

A case has a message for two recipients. Its class is that of RFC 5321 section 4.2.1: what
the exchanger said of the mail decides, everything before MAIL and every breach of the protocol is a deferral, and
from the final dot to its reply there is a doubt (RFC 1047).
"""

import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from relayd.spool.outcome import Kind
from tests.world.authority import certify
from tests.world.exchanger import EXTENSIONS, Action, Exchanger, Script
from tests.world.wire import Wire

# In seconds: how long the silent are waited for, and all others, none of which takes so long.
SHORT, LONG = 0.06, 10.0
BOB, CAROL = "bob@example.net", "carol@example.net"
# Mail data in chunks. The large one is far more than the kernel holds for both sides together.
MAIL = (b"Subject: test\r\n\r\ntext\r\n",)
LARGE = (b"Subject: large\r\n\r\n", *[(b"x" * 76 + b"\r\n") * 800] * 200)
# The longest record of a handshake, with nothing in it that is one, and the alert of a server that cannot agree
# (RFC 8446 sections 5.1 and 6).
RECORD, ALERT = b"\x16\x03\x03\x40\0" + bytes(0x4000), b"\x15\x03\x03\0\x02\x02\x28"
# What a server may say to upset a terminal or a log, and how it is told.
ESCAPED = r"a\x1b[2Jb\x00c\x07d\re" + "\ufffd" + r"f\u202eg" + "\ufffd"
CONTROLS = b"a\x1b[2Jb\0c\x07d\re\x9bf\xe2\x80\xaeg\xff"


@dataclass(frozen=True, slots=True)
class Case:
    """`kinds` has one for each recipient; each of their replies contains `says`. `limits` are those of a town.

    `is_old` is for a message that has waited for more than five minutes. `pipelining` has one or both of with
    and without PIPELINING.
    """

    name: str
    kinds: tuple[Kind, ...]
    says: str
    actions: Mapping[str, Action] = field(default_factory=dict)
    replies: Mapping[str, Script] = field(default_factory=dict)
    extensions: tuple[bytes, ...] = EXTENSIONS
    tls: bool = False
    mail: tuple[bytes, ...] = MAIL
    is_old: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)
    pipelining: tuple[bool, ...] = (True,)

    def set_up(self, exchanger: Exchanger, *, pipelining: bool = True) -> None:
        """Have an exchanger do it."""
        exchanger.actions = dict(self.actions)
        exchanger.replies = dict(self.replies)
        exchanger.extensions = tuple(each for each in self.extensions if pipelining or each != b"PIPELINING")
        exchanger.tls = server_context() if self.tls else None


@cache
def server_context() -> ssl.SSLContext:
    """What the exchangers with TLS use; made once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        papers = certify(Path(folder), "mx.example.net")
        context.load_cert_chain(papers.certificate, papers.key)
    return context


# What next hops do.


def says(*octets: bytes) -> Action:
    """The first at once and each next one after a line; then silence."""

    def act(wire: Wire) -> None:
        for place, piece in enumerate(octets):
            if place:
                wire.read_line()
            wire.send(piece)
        wire.wait()

    return act


def without_end(octets: bytes) -> Action:
    """The same octets again and again."""
    return lambda wire: wire.send_endlessly(octets)


def after(lines: int, octets: bytes) -> Action:
    """Octets after so many further lines, and then silence."""

    def act(wire: Wire) -> None:
        for _ in range(lines):
            wire.read_line()
        wire.send(octets)
        wire.wait()

    return act


def dribbling(octets: bytes) -> Action:
    """One octet now and again, for longer than anybody would wait, faster than a timeout for each would notice."""
    return lambda wire: wire.dribble(octets * (20_000 // len(octets)), SHORT / 10)


def then(octets: bytes, end: Callable[[Wire], None]) -> Action:
    """Octets, and then an end."""

    def act(wire: Wire) -> None:
        wire.send(octets)
        end(wire)

    return act


def closes(wire: Wire) -> None:
    """The end."""
    raise ConnectionAbortedError("closed by the script")


def closes_soon(wire: Wire) -> None:
    """The end, when the peer is likely to have begun on something."""
    wire.rest(0.001)
    closes(wire)


def falls_silent(wire: Wire) -> None:
    """Nothing any more."""
    wire.wait()


def half_closes(wire: Wire) -> None:
    """Nothing more comes, and what comes is read."""
    wire.finish()
    wire.wait()


def reads_slowly(wire: Wire) -> None:
    """Mail data in small bites and in steady progress, to its end; then a final reply."""
    tail = b""
    while not tail.endswith(b"\r\n.\r\n"):
        tail = (tail + wire.read(65_536))[-5:]
        wire.rest(0.0002)
    wire.send(b"250 2.0.0 read it all\r\n")
    wire.wait()


def deaf(wire: Wire) -> None:
    """Mail data is never read."""
    wire.shrink(4096)
    wire.be_deaf()


def ends_tls(wire: Wire) -> None:
    """Nothing more comes under TLS, and the connection stays."""
    wire.end_tls()
    wire.be_deaf()


def resets(wire: Wire) -> None:
    """RST."""
    wire.reset()


def interrupts(octets: bytes) -> Action:
    """Speak in the middle of the mail data, and read on."""

    def act(wire: Wire) -> None:
        wire.read(1)
        wire.send(octets)
        wire.wait()

    return act


def injects(octets: bytes) -> Action:
    """STARTTLS accepted, and in the same breath what would be taken for a word said under TLS."""

    def act(wire: Wire) -> None:
        wire.send(b"220 2.0.0 go\r\n" + octets)
        wire.secure(server_context())
        wire.read_line()
        wire.send(b"250 mx\r\n")
        wire.wait()

    return act


def secured(action: Action) -> Action:
    """STARTTLS done, and then this instead of an answer to EHLO."""

    def act(wire: Wire) -> None:
        wire.send(b"220 2.0.0 go\r\n")
        wire.secure(server_context())
        wire.read_line()
        action(wire)

    return act


def listening(action: Action) -> Action:
    """This, once the client has begun its handshake."""

    def act(wire: Wire) -> None:
        wire.read(1)
        action(wire)

    return act


def talks_in_clear(octets: bytes) -> Action:
    """Octets beside TLS that is spoken, and then silence."""

    def act(wire: Wire) -> None:
        wire.send_in_clear(octets)
        wire.be_deaf()

    return act


# Making cases.


def case_of(
    kind: Kind, name: str, says: str, at: str = "", does: bytes | Action = b"", *, silent: str = "", **more: Any
) -> Case:
    """Both recipients alike; `does` is said or done at one verb; `silent` is the phase whose timeout comes."""
    if at:
        more["replies" if isinstance(does, bytes) else "actions"] = {at: does}
    return Case(name, (kind, kind), says, limits={silent: SHORT} if silent else {}, **more)


def delivered(name: str, *more: Any, **others: Any) -> Case:
    """It was taken."""
    return case_of(Kind.DELIVERED, name, *more, **others)


def deferred(name: str, *more: Any, **others: Any) -> Case:
    """It waits."""
    return case_of(Kind.DEFERRED, name, *more, **others)


def failed(name: str, *more: Any, **others: Any) -> Case:
    """It was refused for good."""
    return case_of(Kind.FAILED, name, *more, **others)


def doubtful(name: str, *more: Any, **others: Any) -> Case:
    """It may have been taken."""
    return case_of(Kind.IN_DOUBT, name, *more, **others)


LOST, PROTOCOL, TIMEOUT = "4.4.2 lost the connection", "4.5.0 protocol error", "4.4.2 timeout while waiting for"
TOO_LONG = f"{PROTOCOL}: a reply longer than"
NO_REPLY = f"{PROTOCOL}: not a reply"
UNASKED = f"{PROTOCOL}: a reply to nothing"
