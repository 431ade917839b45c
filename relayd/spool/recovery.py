"""Recovery: what a start does before anything else, so that whatever ended the process before needs no person.

Half-queued notifications are finished or dropped, drafts that nobody writes any more are swept, journals whose
message is gone are ended. Fails with OSError when the spool cannot be read.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from datetime import datetime

from relayd.base import events
from relayd.spool.aside import Aside
from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound
from relayd.spool.ids import derived, is_id
from relayd.spool.journal import Journal
from relayd.spool.layout import Layout, name_of, parse_name, parse_prepared
from relayd.spool.ledger import Ledger, accepted
from relayd.spool.message import open_message
from relayd.spool.outcome import Notified
from relayd.spool.regular import open_regular
from relayd.spool.tidy import Tidying
from relayd.spool.troubles import Troubles, shown

_PORTION = 65_536
# From the making of a draft to its lock it takes microseconds, or as long as another thread does not let go.
_LOCKING_SECONDS = 0.5
_FOLDERS = ("new", "cur", "hold", "failed", "journal")


class Sweep:
    """tmp/, after processes that wrote there are gone."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        ledger: Ledger,
        aside: Aside,
        troubles: Troubles,
        moved: Callable[[str], None],
        report: Callable[[events.Event], None],
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._ledger = ledger
        self._aside = aside
        self._troubles = troubles
        self._moved = moved
        self._report = report
        # Names in tmp/ of notifications that the disk did not let be finished.
        self._unfinished: set[str] = set()

    def notifications(self, now: datetime) -> int:
        """Finish each notification that its message's journal speaks of, drop the others; how many it finished."""
        return self._each(lambda name: self._finish(name, now))

    def finish(self, message_id: str, now: Callable[[], datetime]) -> None:
        """The same for one message, where the disk did not let it be done before; raises OSError.

        Until then nobody may take the message: its journal says that the notification exists, and ends with it.
        """
        if not self._unfinished:
            return
        for name in [name for name in self._unfinished if name.startswith(f"{message_id}.")]:
            try:
                self._finish(name, now())
            except FileNotFoundError:
                self._unfinished.discard(name)
            except NotSound as error:
                self._unfinished.discard(name)
                self._aside.put("tmp", name, str(error))

    def leave(self, message_id: str, attempt: int) -> None:
        """Have a notification finished, or dropped, before its message is taken again: its writer gave up."""
        self._unfinished.add(os.path.basename(self._layout.prepared(message_id, attempt)))

    def drafts(self) -> int:
        """Take away what a process that is gone was writing; how many there were.

        A worker holds a lock on its drafts until they are messages, so those of one that lives on are left alone.
        It makes a file before it can lock it, so that one without a lock gets a moment to be locked.
        """
        free: list[str] = []
        self._each(lambda name: is_id(name) and self._is_free(name, free))
        if not free:
            return 0
        self._disk.rest(_LOCKING_SECONDS)
        return self._each(lambda name: name in free and self._drop(name))

    def _is_free(self, name: str, free: list[str]) -> bool:
        fd, _ = open_regular(self._disk, self._layout.draft(name))
        try:
            if self._disk.is_locked(fd):
                return False
        finally:
            self._disk.close(fd)
        free.append(name)
        return True

    def _each(self, do: Callable[[str], bool]) -> int:
        count = 0
        for name in self._disk.names(self._layout.folder("tmp")):
            try:
                count += do(name)
            except FileNotFoundError:
                continue
            except NotSound as error:
                self._aside.put("tmp", name, str(error))
            except OSError as error:
                self._troubles.met(f"sweep tmp/{shown(name)}", error.strerror or str(error))
        return count

    def _finish(self, name: str, now: datetime) -> bool:
        about = parse_prepared(name)
        if about is None:
            return False
        try:
            is_promised = self._finish_about(name, *about, now)
        except FileNotFoundError:
            raise
        except OSError:
            self._unfinished.add(name)
            raise
        self._unfinished.discard(name)
        return is_promised

    def _finish_about(self, name: str, message_id: str, attempt: int, now: datetime) -> bool:
        path = self._layout.draft(name)
        notice_id = derived(message_id, attempt)
        # Synced first, as its name was at the start, since what is done next must not outlive it.
        entries = Journal(self._disk, self._layout, message_id).read(lambda mtime: True)
        if all(entry.message != notice_id for entry in entries if isinstance(entry, Notified)):
            # The failure is owed still, and the notification is made again when the attempt is settled.
            self._disk.unlink(path)
            return False
        size = self._disk.lstat(path).st_size
        envelope = open_message(self._disk, path, size, _PORTION).envelope
        self._disk.rename(path, self._layout.message("new", name_of(notice_id, size)))
        self._moved("new")
        with contextlib.suppress(OSError):
            self._ledger.append([accepted(now, notice_id, envelope)])
        # Who wrote it has not come to say so.
        recipient = f"<{envelope.recipients[0].address}>"
        self._report(events.DsnQueued(id=notice_id, about=message_id, recipient=recipient))
        return True

    def _drop(self, name: str) -> bool:
        path = self._layout.draft(name)
        fd, _ = open_regular(self._disk, path)
        try:
            if self._disk.is_locked(fd):
                return False
            self._disk.unlink(path)
        finally:
            self._disk.close(fd)
        return True


def sync_folders(layout: Layout, disk: Disk) -> None:
    """Make all names durable, so that a power cut leaves nothing else than what this start sees."""
    for folder in _FOLDERS:
        disk.sync_folder(layout.folder(folder))


def held(layout: Layout, disk: Disk) -> dict[str, str]:
    """Which IDs stand in hold/ and failed/, and in which."""
    places: dict[str, str] = {}
    for state in ("failed", "hold"):
        for name in disk.names(layout.folder(state)):
            parsed = parse_name(name)
            if parsed is not None:
                places[parsed[0]] = state
    return places


def end_orphans(layout: Layout, disk: Disk, tidying: Tidying, known: Iterable[str]) -> int:
    """Have the journals swept whose message is in no folder; how many there are."""
    orphans = {name for name in disk.names(layout.folder("journal")) if is_id(name)}.difference(known)
    if orphans:
        # Somebody may have moved a message past us while the folders were read.
        for state in ("hold", "failed", "cur", "new"):
            orphans.difference_update(name.partition(",")[0] for name in disk.names(layout.folder(state)))
    for message_id in sorted(orphans):
        tidying.ended(message_id)
    return len(orphans)
