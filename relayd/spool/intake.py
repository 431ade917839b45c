"""The intake: where a worker writes messages and makes them durable, many in one group.

A draft is written in tmp/ and becomes a message by a rename to new/. `commit` returns when the messages are
visible and durable, so a 250 may follow. Drafts up to `LARGE` octets stay in memory until then, as long as all
of them together leave room there; others are written as they come, by `spill` and `finish`, which may block and
belong in a thread.

Content and names of a group are synced together, after the renames: one transaction of the file system's journal
has all of it, where content first and names later take two. Until then a message is locked, which tells the
delivery process to leave it alone; and what a power cut leaves of it there is not whole, see `unfinished`.

Refuses to know sessions and replies. Fails with SpoolFull or SpoolFailed, for each draft on its own, except
that an error of the folder's fsync fails the whole group and is `uncertain`; after that nothing more is taken.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, pack
from relayd.spool.errors import SpoolError, SpoolFailed, SpoolFull, from_os
from relayd.spool.ids import Ids
from relayd.spool.layout import Layout, name_of
from relayd.spool.ledger import Ledger, accepted
from relayd.spool.together import TogetherDisk

LARGE = 262_144
# So large a message's file is read whole by the delivery process when it is taken.
WHOLE = 65_536

# All drafts of a process together; beyond it, what has more than a few octets in memory is written.
_MEMORY = 32 << 20
_FEW = 4096

# Each draft of a group holds a descriptor; a process has some thousand, and its sessions need them too.
_LARGEST_GROUP = 128
# The turn of who has nobody to take turns with.
_ALWAYS = contextlib.nullcontext()
# With fewer inodes free, those that are left are for the journals of what is here already.
_FEWEST_INODES = 100
# So long a look at the room counts: under load some fifty messages ask in that time.
_ROOM_SECONDS = 0.05


class Memory:
    """What all drafts of a process hold in memory, in octets; from any thread."""

    def __init__(self, most: int = _MEMORY) -> None:
        self._most = most
        self._used = 0
        self._lock = threading.Lock()

    @property
    def is_short(self) -> bool:
        """Whether they hold more than they should."""
        return self._used > self._most

    def add(self, octets: int) -> None:
        """So many more, or fewer."""
        with self._lock:
            self._used += octets


class Draft:
    """A message on its way in. `id` is final from the start; `size` counts the whole file, in octets."""

    __slots__ = (
        "_disk",
        "_fd",
        "_has_file",
        "_memory",
        "_path",
        "_unwritten",
        "envelope",
        "failure",
        "id",
        "is_synced",
        "size",
    )

    def __init__(self, message_id: str, envelope: Envelope, path: str, disk: Disk, memory: Memory) -> None:
        self.id = message_id
        self.envelope = envelope
        self._memory = memory
        self._path = path
        self._disk = disk
        self._fd = -1
        self._has_file = False
        self.is_synced = False
        # Why it does not become a message.
        self.failure: SpoolError | None = None
        # What is not written yet. Not a list: mail data may come in chunks of an octet each, and every one would
        # cost fifty.
        self._unwritten = bytearray(pack(envelope))
        self.size = len(self._unwritten)
        memory.add(self.size)

    def write(self, octets: bytes) -> None:
        """Add mail data; no system call."""
        self._unwritten += octets
        self.size += len(octets)
        self._memory.add(len(octets))

    @property
    def is_large(self) -> bool:
        """Whether it is for `finish` rather than for the group."""
        return self.size > LARGE

    @property
    def is_written(self) -> bool:
        """Whether all of it is in its file."""
        return self._fd >= 0 and not self._unwritten

    @property
    def must_spill(self) -> bool:
        """Whether more octets wait in memory than may, LARGE or, when it is short, a few."""
        waiting = len(self._unwritten)
        return waiting > LARGE or (waiting > _FEW and self._memory.is_short)

    def spill(self) -> None:
        """Write what waits in memory; raise SpoolError."""
        try:
            if self._fd < 0:
                self._create()
            self._disk.write(self._fd, bytes(self._unwritten))
        except OSError as error:
            raise from_os(error, f"write {self._path}") from error
        self._forget()

    def start_write_back(self) -> None:
        """Let the medium begin before anybody waits for it."""
        try:
            self._disk.start_write_back(self._fd)
        except OSError:
            # Haste only: a file system that does not know how writes all the same.
            return

    def finish(self) -> None:
        """Write the rest and wait until the content is on the medium; raise SpoolError.

        It is not to be tried again: what an fsync has failed for is lost, and the next one would not say so.
        """
        if self.is_synced:
            return
        if self._unwritten or self._fd < 0:
            self.spill()
        try:
            self._disk.sync(self._fd)
        except OSError as error:
            raise self.failed(error) from error
        self.is_synced = True

    @property
    def fd(self) -> int:
        """The descriptor of what is written, to be synced with others; `is_synced` is then to be set."""
        return self._fd

    def failed(self, error: OSError) -> SpoolError:
        """What an error of its sync comes to."""
        return from_os(error, f"fsync {self._path}")

    def rename(self, target: str) -> None:
        """Make it visible; raise SpoolError. A draft whose file somebody swept away is none any more."""
        try:
            self._disk.rename(self._path, target)
        except OSError as error:
            raise from_os(error, f"rename {self._path} to {target}") from error
        self._path = target

    def settle(self) -> None:
        """It is a message now, or may be one: what it is called is not this draft's any more."""
        self._has_file = False
        self._close()

    def discard(self) -> None:
        """Forget it and its file, unless it is settled; never fails."""
        self._close()
        self._forget()
        if self._has_file:
            self._has_file = False
            # When the disk is gone, the sweep at the next start takes what stays.
            with contextlib.suppress(OSError):
                self._disk.unlink(self._path)

    def _forget(self) -> None:
        """What is in memory is written, or not wanted."""
        self._memory.add(-len(self._unwritten))
        self._unwritten.clear()

    def _create(self) -> None:
        self._fd = self._disk.create(self._path)
        self._has_file = True
        # Held until the rename, so that a delivery process that starts meanwhile does not take it for a left-over.
        try:
            self._disk.lock(self._fd)
        except OSError:
            # The worst is a rename that finds no file, and a client that hears 451.
            return

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._disk.close(fd)
            except OSError:
                # What matters is synced; some file systems tell of other writes' errors here.
                return


class Intake:
    """One worker's way into the spool; `begin` and `commit` are for one thread at a time each."""

    def __init__(
        self,
        layout: Layout,
        minimum_free: int,
        *,
        disk: Disk | None = None,
        ids: Ids | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        memory: Memory | None = None,
    ) -> None:
        self._layout = layout
        self._minimum_free = minimum_free
        self._disk = disk or TogetherDisk()
        self._ids = ids or Ids()
        self._now = now
        self._ledger = Ledger(layout, self._disk)
        self._memory = memory or Memory()
        self._clock = clock
        # What was free beyond the minimum when it was last looked at, and until when that counts.
        self._room = 0
        self._room_until = 0.0
        self._is_broken = False

    def check_room(self, size: int = 0) -> None:
        """Raise SpoolFull when a message of so many octets would leave less than the minimum free.

        Room that was there a moment ago counts; that there is none is looked at each time.
        """
        now = self._clock()
        if now < self._room_until and size <= self._room:
            return
        try:
            free, inodes = self._disk.free(self._layout.root)
        except OSError as error:
            raise from_os(error, "statvfs") from error
        if free - size < self._minimum_free:
            raise SpoolFull(f"{free} octets are free, and {self._minimum_free} must stay free")
        if 0 <= inodes < _FEWEST_INODES:
            raise SpoolFull(f"{inodes} inodes are free")
        self._room, self._room_until = free - self._minimum_free, now + _ROOM_SECONDS

    def begin(self, envelope: Envelope) -> Draft:
        """A new draft with its ID; nothing is written yet."""
        message_id = self._ids.next()
        return Draft(message_id, envelope, self._layout.draft(message_id), self._disk, self._memory)

    def commit(
        self,
        drafts: Sequence[Draft],
        turn: contextlib.AbstractContextManager[object] = _ALWAYS,
        more: Callable[[], Sequence[Draft]] = tuple,
    ) -> list[str | SpoolError]:
        """Make drafts durable and visible; for each its file name in new/, or why not: then it is discarded.

        Only their names and the wait for the medium are part of the `turn`: what one process writes and enters
        keeps no other from the medium. When that comes, `more` gives what has come meanwhile; what becomes of
        these follows.
        """
        results: list[str | SpoolError] = []
        waiting = list(drafts)
        while waiting:
            early = waiting[:_LARGEST_GROUP]
            self._write_all(early)
            with turn:
                if not results:
                    # Once: who has waited does not wait for all that may come.
                    waiting += more()
                group = waiting[:_LARGEST_GROUP]
                self._write_all(group[len(early) :])
                self._publish(group)
            results += self._conclude(group)
            del waiting[: len(group)]
        return results

    # The steps. What fails is kept in the draft.

    def _write_all(self, drafts: Sequence[Draft]) -> None:
        if not self._is_broken:
            self._attempt(drafts, self._write)

    def _publish(self, drafts: Sequence[Draft]) -> None:
        """Give them their names in new/, and wait until all is on the medium."""
        if self._is_broken:
            for draft in drafts:
                draft.failure = SpoolFailed("new/ could not be synced before")
        # What the delivery process does not read whole as it takes it must be whole before it is seen.
        first = [each for each in drafts if each.failure is None and each.size > WHOLE and not each.is_synced]
        if first:
            self._note(first, self._disk.sync_all([draft.fd for draft in first]))
        visible = self._attempt(drafts, self._rename)
        if visible:
            self._sync(visible)

    def _conclude(self, drafts: Sequence[Draft]) -> list[str | SpoolError]:
        """Enter what has become a message, and forget what has not."""
        self._enter([draft for draft in drafts if draft.failure is None])
        for draft in drafts:
            if draft.failure is None or (isinstance(draft.failure, SpoolFailed) and draft.failure.uncertain):
                draft.settle()
            else:
                draft.discard()
        return [draft.failure or name_of(draft.id, draft.size) for draft in drafts]

    def _sync(self, drafts: Sequence[Draft]) -> None:
        """Wait until content and names are on the medium."""
        waiting = [draft for draft in drafts if not draft.is_synced]
        found, error = self._disk.sync_with_folder([draft.fd for draft in waiting], self._layout.folder("new"))
        self._note(waiting, found)
        if error is not None:
            self._is_broken = True
            uncertain = SpoolFailed(f"fsync new/: {error.strerror or error}", uncertain=True)
            for draft in drafts:
                draft.failure = draft.failure or uncertain

    @staticmethod
    def _note(drafts: Sequence[Draft], found: Sequence[OSError | None]) -> None:
        """What came of the syncs of their contents."""
        for draft, error in zip(drafts, found, strict=True):
            draft.is_synced = error is None
            if error is not None:
                draft.failure = draft.failed(error)

    @staticmethod
    def _attempt(drafts: Sequence[Draft], step: Callable[[Draft], None]) -> list[Draft]:
        """Take each draft one step on; the rest of the group goes on without those that fail, in whatever way."""
        passed = []
        for draft in drafts:
            if draft.failure is not None:
                continue
            try:
                step(draft)
                passed.append(draft)
            except SpoolError as error:
                draft.failure = error
            except Exception as error:
                draft.failure = SpoolFailed(f"{type(error).__name__}: {error}")
        return passed

    @staticmethod
    def _write(draft: Draft) -> None:
        if not draft.is_written:
            draft.spill()
            # Write-back of the whole group starts before the first fsync waits: measured 1.9 to 2.5 times the
            # rate of fsync alone on a journaled ext4.
            draft.start_write_back()

    def _rename(self, draft: Draft) -> None:
        draft.rename(self._layout.message("new", name_of(draft.id, draft.size)))

    def _enter(self, drafts: Sequence[Draft]) -> None:
        if not drafts:
            return
        now = self._now()
        # The messages are safe without it; the audit will show them as not entered, which is the truth.
        with contextlib.suppress(OSError):
            self._ledger.append([accepted(now, draft.id, draft.envelope) for draft in drafts])


def boot_check(layout: Layout) -> None:
    """Raise OSError or WrongSpool when this process cannot write into the spool."""
    layout.check_use()
