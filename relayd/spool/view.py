"""A view of the spool for whoever looks at it, at any time, beside whatever works in it. It changes nothing.

Files may vanish, move and grow while one looks: what is gone is left out, what is no sound message of ours is
shown with the reason. Raises FileNotFoundError where there is no spool yet, WrongSpool for one of another version,
NoSuchMessage for an ID that no file has, and OSError when this user may not look.
"""

import contextlib
import errno
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from relayd.spool import journal
from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, unpack
from relayd.spool.errors import NoSuchMessage, NotSound
from relayd.spool.ids import arrival
from relayd.spool.layout import STATES, Layout, parse_name
from relayd.spool.message import mail_data, read_head
from relayd.spool.outcome import Entry, Outcome, fold
from relayd.spool.regular import open_regular
from relayd.spool.troubles import shown

# Enough for the envelope of a message with a few recipients; what is longer is read on.
_PORTION = 4096
# The order in which folders are read: what moves on while they are is met again rather than missed.
_IN_TURN = ("new", "cur", "hold", "failed", "new")
# The year 9999.
_LATEST = 253_402_300_799.0
_HEADER_END = b"\r\n\r\n"


class Summary(msgspec.Struct, frozen=True):
    """How many messages are in each folder, how many are `due`, and since when the oldest of those is.

    `oldest_due` is in seconds since 1970.
    """

    new: int
    cur: int
    hold: int
    failed: int
    due: int
    oldest_due: float | None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One message, or what stands in the place of one: then `reason` says why it is none.

    `id` is the file's name where it has no ID. `size` is the file's, in octets. `open` of `total` recipients are
    still to be tried, `next` is when, in cur/ and new/, and `last` what came of it last.
    """

    id: str
    state: str
    name: str
    size: int = 0
    arrived: datetime | None = None
    reverse_path: str | None = None
    open: int = 0
    total: int = 0
    attempts: int = 0
    next: datetime | None = None
    last: Outcome | None = None
    reason: str = ""

    def age(self, now: datetime) -> float:
        """Seconds since it arrived, 0 where nobody knows."""
        return 0.0 if self.arrived is None else max(0.0, (now - self.arrived).total_seconds())


class Details(msgspec.Struct, frozen=True):
    """One message with its envelope (None when it cannot be read) and its journal, oldest line first."""

    item: Item
    envelope: Envelope | None
    entries: tuple[Entry, ...]
    offset: int


class View:
    """One spool directory, as it is now."""

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        self._layout = Layout(str(directory))
        self._disk = disk or Disk()

    def summary(self, now: float) -> Summary:
        """Count by names and times alone; `now` is in seconds since 1970."""
        self._check()
        names = {state: self._names(state) for state in STATES}
        due = 0
        oldest: float | None = None
        for state in ("new", "cur"):
            for name in names[state]:
                try:
                    since = self._disk.lstat(self._layout.message(state, name)).st_mtime
                except OSError:
                    continue
                if state == "new" or since <= now:
                    due += 1
                    since = min(since, now)
                    oldest = since if oldest is None else min(oldest, since)
        counts = {state: len(names[state]) for state in STATES}
        return Summary(**counts, due=due, oldest_due=oldest)

    def items(self, now: datetime) -> Iterator[Item]:
        """All messages, in the order in which they arrived."""
        self._check()
        places: dict[str, str] = {}
        for state in _IN_TURN:
            for name in self._names(state):
                places.setdefault(name, state)
        journals = frozenset(self._disk.names(self._layout.folder("journal")))
        for name in sorted(places):
            item = self._item(places[name], name, now, journals)
            if item is not None:
                yield item

    def details(self, message_id: str, now: datetime) -> Details:
        """One message, by its ID, or by the name that an item without an ID shows; raises NoSuchMessage."""
        self._check()
        for state in _IN_TURN:
            for name in self._names(state):
                if name.startswith(f"{message_id},") or shown(name) == message_id:
                    found = self._details(state, name, now)
                    if found is not None:
                        return found
        raise NoSuchMessage(f"no message in the spool has the ID {message_id}")

    def mail_data(self, details: Details) -> Iterator[bytes]:
        """The mail data in portions; raises SpoolError."""
        item = details.item
        return mail_data(self._disk, self._layout, (item.state, *STATES), item.name, details.offset)

    def header(self, details: Details, most: int = 1 << 20) -> bytes:
        """The header section of the mail data, at most so many octets of it; raises SpoolError."""
        start = b""
        for portion in self.mail_data(details):
            start += portion
            end = start.find(_HEADER_END)
            if end >= 0:
                return start[: end + 2]
            if len(start) >= most:
                break
        return start[:most]

    def _check(self) -> None:
        if not self._disk.exists(f"{self._layout.root}/format"):
            raise FileNotFoundError(errno.ENOENT, "there is no spool", self._layout.root)
        self._layout.check(disk=self._disk)

    def _names(self, state: str) -> list[str]:
        return [name for name in self._disk.names(self._layout.folder(state)) if name[0] != "."]

    def _item(self, state: str, name: str, now: datetime, journals: frozenset[str]) -> Item | None:
        """The item of a file, which may be in another folder by now; None when it is gone."""
        for folder in (state, *STATES):
            try:
                return self._look(folder, name, now, journals)[0]
            except FileNotFoundError:
                continue
        return None

    def _details(self, state: str, name: str, now: datetime) -> Details | None:
        message_id = name.partition(",")[0]
        for folder in (state, *STATES):
            try:
                item, envelope, offset = self._look(folder, name, now, frozenset({message_id}))
            except FileNotFoundError:
                continue
            entries: list[Entry] = []
            # Where the message is sound, the item says that the journal is not.
            with contextlib.suppress(NotSound, OSError):
                entries = self._entries(message_id)
            return Details(item, envelope, tuple(entries), offset)
        return None

    def _look(
        self, state: str, name: str, now: datetime, journals: frozenset[str]
    ) -> tuple[Item, Envelope | None, int]:
        """What a file is; raises FileNotFoundError."""
        parsed = parse_name(name)
        try:
            if parsed is None:
                raise NotSound("it has no name of ours")
            message_id, size = parsed
            envelope, offset, mtime = self._read(state, name, size)
            entries = self._entries(message_id) if message_id in journals else []
            held = fold(len(envelope.recipients), entries)
        except FileNotFoundError:
            raise
        except (NotSound, OSError) as error:
            reason = str(error) if isinstance(error, NotSound) else f"it cannot be read now: {error.strerror}"
            return self._unsound(state, name, reason), None, 0
        due = {"new": now, "cur": _instant(mtime)}.get(state)
        item = Item(
            id=message_id,
            state=state,
            name=name,
            size=size,
            arrived=envelope.arrived,
            reverse_path=envelope.reverse_path,
            open=len(held.open),
            total=len(envelope.recipients),
            attempts=held.attempts,
            next=due,
            last=_last(entries, held.open),
        )
        return item, envelope, offset

    def _read(self, state: str, name: str, size: int) -> tuple[Envelope, int, float]:
        fd, status = open_regular(self._disk, self._layout.message(state, name))
        try:
            if status.st_size != size:
                raise NotSound(f"it has {status.st_size} octets, its name says {size}")
            start, offset = read_head(self._disk, fd, size, _PORTION)
        finally:
            self._disk.close(fd)
        return unpack(start[:offset]), offset, status.st_mtime

    def _entries(self, message_id: str) -> list[Entry]:
        try:
            return journal.parse(journal.read(self._disk, self._layout.journal(message_id)))[0]
        except FileNotFoundError:
            return []

    def _unsound(self, state: str, name: str, reason: str) -> Item:
        status = self._disk.lstat(self._layout.message(state, name))
        parsed = parse_name(name)
        arrived = arrival(parsed[0]) if parsed is not None else status.st_mtime
        return Item(
            id=parsed[0] if parsed is not None else shown(name),
            state=state,
            name=name,
            size=status.st_size,
            arrived=_instant(arrived),
            reason=reason,
        )


def _last(entries: Iterable[Entry], still_open: tuple[int, ...]) -> Outcome | None:
    """The last outcome of those that are still to be tried; of all, when none is."""
    asked = frozenset(still_open)
    last = None
    for entry in entries:
        if isinstance(entry, Outcome) and (not asked or not asked.isdisjoint(entry.recipients)):
            last = entry
    return last


def _instant(seconds: float) -> datetime:
    """A file's time, which may be any number, as far as a calendar reaches."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST), UTC)
