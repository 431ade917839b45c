"""A view of the spool for whoever looks at it, at any time, beside whatever works in it. It changes nothing.

Files may vanish, move and grow while one looks: what is gone is left out, what is no sound message of ours is
shown with the reason. Raises FileNotFoundError where there is no spool yet, WrongSpool for one of another version,
NoSuchMessage for an ID that no file has, and OSError when this user may not look.
"""

import contextlib
import errno
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from relayd.spool import journal
from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, unpack
from relayd.spool.errors import NoSuchMessage, NotSound
from relayd.spool.ids import LENGTH, arrival
from relayd.spool.layout import STATES, Layout, parse_name
from relayd.spool.message import mail_data, read_head
from relayd.spool.outcome import Entry, Outcome
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
    still to be tried, at `domains`; `next` is when, in cur/ and new/, and `last` what came of it last.
    """

    id: str
    state: str
    name: str
    size: int = 0
    arrived: datetime | None = None
    reverse_path: str | None = None
    open: int = 0
    total: int = 0
    domains: tuple[str, ...] = ()
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
        places: dict[str, tuple[str, bool]] = {}
        for state in _IN_TURN:
            for name, is_file in self._disk.files(self._layout.folder(state)):
                if name[0] != ".":
                    places.setdefault(name, (state, is_file))
        journals = dict(self._disk.files(self._layout.folder("journal")))
        for name in sorted(places):
            item = self._item(name, *places[name], now, journals)
            if item is not None:
                yield item

    def details(self, message_id: str, now: datetime) -> Details:
        """One message, by its ID, or by the name that an item without an ID shows; raises NoSuchMessage."""
        self._check()
        for state in _IN_TURN:
            for name in self._names(state):
                if name.startswith(f"{message_id},") or shown(name) == message_id:
                    found = self._find(name, now)
                    if found is not None:
                        return self._details(*found)
        raise NoSuchMessage(f"no message in the spool has the ID {message_id}")

    def _details(self, item: Item, envelope: Envelope | None, offset: int) -> Details:
        entries: list[Entry] = []
        # Where the message is sound, the item says that the journal is not.
        with contextlib.suppress(NotSound, OSError):
            entries, _ = journal.parse(self._journal(item.id, is_known=False))
        return Details(item, envelope, tuple(entries), offset)

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

    def _item(self, name: str, state: str, is_file: bool, now: datetime, journals: dict[str, bool]) -> Item | None:
        """The item of a file, which may be in another folder by now; None when it is gone."""
        message_id, has_journal, is_known = name[:LENGTH], name[:LENGTH] in journals, False
        if has_journal:
            is_known = journals[message_id]
        try:
            return self._look(state, name, now, is_file, has_journal, is_known)[0]
        except FileNotFoundError:
            found = self._find(name, now)
            return None if found is None else found[0]

    def _find(self, name: str, now: datetime) -> tuple[Item, Envelope | None, int] | None:
        """Look for a file in all folders."""
        for state in STATES:
            with contextlib.suppress(FileNotFoundError):
                return self._look(state, name, now, False, True, False)
        return None

    def _look(
        self, state: str, name: str, now: datetime, is_file: bool, has_journal: bool, is_known: bool
    ) -> tuple[Item, Envelope | None, int]:
        """What a file is, and where its mail data begins; raises FileNotFoundError.

        `is_file` and `is_known` say that it, and its journal, are known to be regular files.
        """
        parsed = parse_name(name)
        try:
            if parsed is None:
                raise NotSound("it has no name of ours")
            message_id, size = parsed
            envelope, offset, mtime = self._read(state, name, size, is_file)
            content = self._journal(message_id, is_known) if has_journal else b""
            stands = journal.standing(content, len(envelope.recipients))
        except FileNotFoundError:
            raise
        except (NotSound, OSError) as error:
            reason = str(error) if isinstance(error, NotSound) else f"it cannot be read now: {error.strerror}"
            return self._unsound(state, name, reason), None, 0
        item = Item(
            id=message_id,
            state=state,
            name=name,
            size=size,
            arrived=envelope.arrived,
            reverse_path=envelope.reverse_path,
            open=len(stands.open),
            total=len(envelope.recipients),
            domains=_domains(envelope, stands.open),
            attempts=stands.attempts,
            next=now if state == "new" else _instant(mtime) if state == "cur" else None,
            last=stands.last,
        )
        return item, envelope, offset

    def _read(self, state: str, name: str, size: int, is_file: bool) -> tuple[Envelope, int, float]:
        fd, status = open_regular(self._disk, self._layout.message(state, name), is_known=is_file)
        try:
            if status.st_size != size:
                raise NotSound(f"it has {status.st_size} octets, its name says {size}")
            start, offset = read_head(self._disk, fd, size, _PORTION)
        finally:
            self._disk.close(fd)
        return unpack(start[:offset]), offset, status.st_mtime

    def _journal(self, message_id: str, is_known: bool) -> bytes:
        path = self._layout.journal(message_id)
        try:
            start = self._start(path) if is_known else b""
            return start if 0 < len(start) < _PORTION else journal.read(self._disk, path)
        except FileNotFoundError:
            return b""

    def _start(self, path: str) -> bytes:
        """The first octets of a file that is known to be a regular one: nearly always all of a journal."""
        fd = self._disk.open(path)
        try:
            return self._disk.read(fd, _PORTION, 0)
        finally:
            self._disk.close(fd)

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


def _domains(envelope: Envelope, indexes: tuple[int, ...]) -> tuple[str, ...]:
    """Each once, in the order of the recipients."""
    if len(indexes) == 1:
        return (envelope.recipients[indexes[0]].domain,)
    return tuple({envelope.recipients[index].domain: None for index in indexes})


def _instant(seconds: float) -> datetime:
    """A file's time, which may be any number, as far as a calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(_LATEST if seconds > 0 else 0.0, UTC)
