"""The ledger: one line for each message that came and each recipient that was done with, by day, for the audit.

Lines are appended in groups, each group in one write: the system does writes to a regular file one after another
however long they are, so lines of several processes stand whole beside each other. They are synced once a second
by the delivery process, before the names of what it is done with; after a power cut the last second may be
missing. After a crash a line may be there twice: what counts is a recipient's fate, not how often it is told. A
line that could not be written whole is ended by the next one, and whoever reads passes over it.

Refuses to know why. Fails with OSError.
"""

import contextlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum

import msgspec

from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope
from relayd.spool.layout import Layout


class Fate(StrEnum):
    """What happened to recipients of a message; UNDELIVERABLE is a failure that nobody was told of.

    BEGAN and ENDED are about the delivery process: it began, with the boot of the machine in the place of an ID,
    and ended with all that it did on the medium.
    """

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNDELIVERABLE = "undeliverable"
    REMOVED = "removed"
    BEGAN = "began"
    ENDED = "ended"


class Line(msgspec.Struct, frozen=True):
    """`recipients` are indexes into the envelope; `at` is UTC."""

    at: datetime
    fate: Fate
    id: str
    recipients: tuple[int, ...]


def accepted(at: datetime, message_id: str, envelope: Envelope) -> Line:
    """The line of a message that came in, or of a notification that went in."""
    return Line(at, Fate.ACCEPTED, message_id, tuple(range(len(envelope.recipients))))


def day_of(seconds: float) -> str:
    """The name of the file for an instant, in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


_encoder = msgspec.json.Encoder()
# How a line says, before its ID, that a message came.
ACCEPTED_LINE = b'"fate":"accepted","id":"'


class Ledger:
    """One process's hand on the ledger."""

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self._layout = layout
        self._disk = disk
        self._day: date | None = None
        self._fd = -1
        self._is_torn = False
        self._unsynced = False

    def append(self, lines: Sequence[Line]) -> None:
        """Write the lines in one append, into the file of the last one's day."""
        if not lines:
            return
        self._open(lines[-1].at.date())
        octets = b"".join(_encoder.encode(line) + b"\n" for line in lines)
        try:
            self._disk.write(self._fd, b"\n" + octets if self._is_torn else octets)
        except OSError:
            # Some of it may stand there without its end.
            self._is_torn = True
            raise
        self._is_torn = False
        self._unsynced = True

    def sync(self) -> None:
        """Make durable what was appended to the day's file, by whomever."""
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            self._disk.sync(self._fd)
        except OSError:
            # An error is told once for a descriptor; the next append opens another.
            fd, self._fd, self._day = self._fd, -1, None
            self._disk.close(fd)
            raise

    def _open(self, day: date) -> None:
        if day == self._day:
            return
        fd = self._disk.open_append(self._layout.message("ledger", day.isoformat()))
        old, self._fd, self._day, self._is_torn = self._fd, fd, day, False
        if old >= 0:
            # Nobody syncs it after this. What it could not keep is no reason to leave out the new day's lines.
            with contextlib.suppress(OSError):
                self._disk.sync(old)
            with contextlib.suppress(OSError):
                self._disk.close(old)
        self._disk.sync_folder(self._layout.folder("ledger"))
