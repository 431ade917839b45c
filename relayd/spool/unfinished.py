"""The unfinished: what a power cut left in new/ of a message whose client was never told that it is safe.

A message is seen in new/ some milliseconds before it is durable, and only then acknowledged (see `intake`). When
the machine goes down in between, its name may be there without all of its content. Its client still has it and
sends it again, so it is taken away: it is nobody's mail, and nothing for a person to look at. What the ledger
knows as acknowledged is never taken for one: the disk has lost it, and a person has to know. Fails with OSError.
"""

import stat
from collections.abc import Iterator

from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound
from relayd.spool.ids import arrival
from relayd.spool.layout import Layout, name_of
from relayd.spool.ledger import ACCEPTED_LINE, day_of
from relayd.spool.message import Message
from relayd.spool.schedule import Place

_PORTION = 1 << 20


class Unfinished:
    """Tells them from mail, for one queue."""

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self._layout = layout
        self._disk = disk
        self._started: float | None = None

    def check(self, place: Place, message: Message) -> None:
        """Raise NotSound for a content that was never all written, though its length is right.

        File systems give octets of nothing for what did not reach the medium, and mail data has none.
        """
        has_nul = place.state == "new" and message.mail_data is not None and b"\0" in message.mail_data
        if has_nul and self._is_of_before(message.mtime):
            raise NotSound("it has NUL octets")

    def drop(self, place: Place) -> bool:
        """Take a file away that is not sound, when it is one of these; False leaves it for a person."""
        if place.state != "new":
            return False
        path = self._layout.message("new", name_of(place.id, place.size))
        status = self._disk.lstat(path)
        if not stat.S_ISREG(status.st_mode) or not self._is_of_before(status.st_mtime):
            return False
        if self._disk.exists(self._layout.journal(place.id)) or self._was_accepted(place.id):
            return False
        self._disk.unlink(path)
        return True

    def _is_of_before(self, mtime: float) -> bool:
        """Whether a file was last written before this run of the machine."""
        if self._started is None:
            self._started = self._disk.started()
        return mtime < self._started

    def _was_accepted(self, message_id: str) -> bool:
        """Whether the ledger has it: in the file of the day on which it came, or a later one."""
        line = ACCEPTED_LINE + message_id.encode()
        first = day_of(arrival(message_id))
        days = sorted(name for name in self._disk.names(self._layout.folder("ledger")) if name >= first)
        return any(
            line in each for day in days for each in self._portions(self._layout.message("ledger", day), len(line))
        )

    def _portions(self, path: str, overlap: int) -> Iterator[bytes]:
        fd = self._disk.open(path)
        try:
            offset, tail = 0, b""
            while portion := self._disk.read(fd, _PORTION, offset):
                offset += len(portion)
                yield tail + portion
                tail = portion[-overlap:]
        finally:
            self._disk.close(fd)
