"""A channel: what master and child say to each other, one JSON object a datagram over a socket pair.

The end of file is a message too: the other one died. Refuses to know what a message leads to. Nothing that
arrives makes it fail: what is no message becomes `Garbled`, since the other end may be of another version.
"""

import socket
from typing import Literal

import msgspec

_LARGEST = 65_536
_LONGEST_REASON = 2000


class Message(msgspec.Struct, frozen=True, tag_field="say"):
    """Anything said on a channel."""


class Waiting(Message, frozen=True, tag="waiting"):
    """Child: everything is checked and read. What another process may have is taken after the word to begin."""


class Begin(Message, frozen=True, tag="begin"):
    """Master: take what the work needs (clients, the delivery lock), and work."""


class Ready(Message, frozen=True, tag="ready"):
    """Child: it works."""


class Refused(Message, frozen=True, tag="refused"):
    """Child: it cannot boot, and why; it exits with CANNOT_BOOT.

    The reason is cut and made printable here, so that a child's last words always arrive.
    """

    reason: str

    def __post_init__(self) -> None:
        reason = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode() for char in self.reason
        )
        if len(reason) > _LONGEST_REASON:
            reason = reason[: _LONGEST_REASON - 1] + "…"
        msgspec.structs.force_setattr(self, "reason", reason)


class Retire(Message, frozen=True, tag="retire"):
    """Master: begin nothing new, end what runs within so many seconds, and exit.

    Gently, sessions go on within that time as if nothing had happened, and only then are asked to end.
    """

    seconds: float
    gently: bool = False


class Reopen(Message, frozen=True, tag="reopen_log"):
    """Master: the log file was moved away; open it anew."""


class Operate(Message, frozen=True, tag="operate"):
    """Master, to delivery: an operator's order about messages; see `deliver.operator`. Answered by Operated.

    `recipient` None stands for all that are open; `notify` whether the sender is told of what is removed.
    """

    ticket: int
    verb: Literal["remove", "fail"]
    ids: tuple[str, ...]
    recipient: str | None = None
    notify: bool = False


class Operated(Message, frozen=True, tag="operated"):
    """Delivery: what came of the order of this ticket, one word or sentence for each ID."""

    ticket: int
    results: tuple[str, ...]


class Garbled(Message, frozen=True, tag="garbled"):
    """Nobody says this: it stands for a datagram that could not be read, or was cut, and shows its beginning."""

    beginning: str


Said = Waiting | Begin | Ready | Refused | Retire | Reopen | Operate | Operated

_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)
_encoder = msgspec.json.Encoder()

# Exit statuses of a child: anything else is a crash.
RETIRED = 0
CANNOT_BOOT = 3


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)

    @classmethod
    def pair(cls) -> "tuple[Channel, Channel]":
        """Both ends, made before the fork."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """For a selector or an event loop."""
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Say something; False when the other one is gone or does not listen."""
        try:
            self._socket.send(_encoder.encode(message))
        except OSError:
            return False
        return True

    def receive(self) -> Said | Garbled | None:
        """What was said, or None at the end of file; BlockingIOError when nothing was."""
        try:
            datagram, _, flags, _ = self._socket.recvmsg(_LARGEST)
        except BlockingIOError:
            raise
        except OSError:
            return None
        if not datagram:
            return None
        try:
            if not flags & socket.MSG_TRUNC:
                return _decoder.decode(datagram)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        return Garbled(datagram[:100].decode("ascii", "backslashreplace"))

    def close(self) -> None:
        """Give this end up."""
        self._socket.close()
