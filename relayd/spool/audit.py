"""The audit: whether every recipient that was accepted is accounted for, from the ledger and the spool alone.

Recipients accepted = delivered + failed + undeliverable + removed + queued + held + set aside. What the ledger
has accepted, no line has ended and no file holds is a gap; where the machine went down without a clean stop
since, it is unknown, since the last second of the ledger may be missing. It changes nothing, and works beside
whatever works in the spool. Raises what a view raises.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from relayd.spool.disk import Disk
from relayd.spool.ids import is_id
from relayd.spool.layout import STATES, Layout
from relayd.spool.ledger import Fate, Line
from relayd.spool.outcome import fold
from relayd.spool.view import Item, View

# A due message that nobody has attempted for so long is not merely waiting for its turn.
_OVERDUE = timedelta(minutes=5)
_PORTION = 1 << 20
_PLACES = {"new": "queued", "cur": "queued", "hold": "held", "failed": "set_aside"}

_line = msgspec.json.Decoder(Line)


class Gap(msgspec.Struct, frozen=True):
    """A message that is in no folder, with recipients of whom no line says what became of them."""

    id: str
    accepted: datetime
    recipients: tuple[int, ...]


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers are of recipients. `unentered` are those of messages that the ledger does not know, in the spool."""

    accepted: int
    delivered: int
    failed: int
    undeliverable: int
    removed: int
    queued: int
    held: int
    set_aside: int
    unentered: int
    gaps: tuple[Gap, ...]
    unknown: tuple[Gap, ...]
    overdue: tuple[str, ...]
    orphan_journals: tuple[str, ...]


class _Message:
    """What the ledger says of one message; a recipient's first fate counts, since a crash may repeat lines."""

    __slots__ = ("accepted", "fates", "recipients")

    def __init__(self) -> None:
        self.accepted: datetime | None = None
        self.recipients: tuple[int, ...] = ()
        self.fates: dict[int, Fate] = {}

    @property
    def missing(self) -> tuple[int, ...]:
        """Recipients without a fate."""
        return tuple(index for index in self.recipients if index not in self.fates)


class Books:
    """The ledger, read as far as it goes, and again from there."""

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self._layout = layout
        self._disk = disk
        self._offsets: dict[str, int] = {}
        self.messages: dict[str, _Message] = {}
        # When the machine came up again after an end that was not clean.
        self.cuts: list[datetime] = []
        self._boot = ""
        self._is_clean = True

    def read_on(self) -> None:
        """Take in the lines that came since the last time."""
        for day in sorted(self._disk.names(self._layout.folder("ledger"))):
            for line in self._lines(day):
                self._enter(line)

    def _lines(self, day: str) -> Iterator[Line]:
        fd = self._disk.open(self._layout.message("ledger", day))
        try:
            offset = self._offsets.get(day, 0)
            rest = b""
            while portion := self._disk.read(fd, _PORTION, offset):
                offset += len(portion)
                *whole, rest = (rest + portion).split(b"\n")
                for line in whole:
                    # One that could not be written whole is passed over.
                    try:
                        yield _line.decode(line)
                    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                        continue
            self._offsets[day] = offset - len(rest)
        finally:
            self._disk.close(fd)

    def _enter(self, line: Line) -> None:
        if line.fate is Fate.BEGAN:
            if not self._is_clean and self._boot and self._boot != line.id:
                self.cuts.append(line.at)
            self._boot, self._is_clean = line.id, False
            return
        if line.fate is Fate.ENDED:
            self._is_clean = True
            return
        message = self.messages.setdefault(line.id, _Message())
        if line.fate is Fate.ACCEPTED:
            message.accepted = message.accepted or line.at
            message.recipients = line.recipients
        else:
            for index in line.recipients:
                message.fates.setdefault(index, line.fate)


def audit(view: View, layout: Layout, now: datetime, *, disk: Disk | None = None) -> Balance:
    """Hold ledger and spool against each other."""
    disk = disk or Disk()
    # First the spool: a line is written before a file goes, so what is gone by the time of the ledger is in it.
    items = {item.id: item for item in view.items(now)}
    books = Books(layout, disk)
    books.read_on()
    open_now: Counter[str] = Counter()
    unentered = 0
    fates: Counter[Fate] = Counter()
    for item in items.values():
        message = books.messages.get(item.id)
        if message is None or message.accepted is None:
            unentered += item.total
            message = books.messages.setdefault(item.id, _Message())
            message.recipients = tuple(range(item.total))
        _settle_unentered(view, item, message, now)
        open_now[_PLACES[item.state]] += len(message.missing)
    lost = [
        Gap(message_id, message.accepted, message.missing)
        for message_id, message in books.messages.items()
        if message.accepted is not None and message.missing and message_id not in items
    ]
    gaps = _confirmed(lost, books, layout, disk)
    for message in books.messages.values():
        fates.update(message.fates.values())
    last_cut = max(books.cuts, default=None)
    return Balance(
        accepted=sum(len(message.recipients) for message in books.messages.values()),
        delivered=fates[Fate.DELIVERED],
        failed=fates[Fate.FAILED],
        undeliverable=fates[Fate.UNDELIVERABLE],
        removed=fates[Fate.REMOVED],
        queued=open_now["queued"],
        held=open_now["held"],
        set_aside=open_now["set_aside"],
        unentered=unentered,
        gaps=tuple(gap for gap in gaps if last_cut is None or gap.accepted > last_cut),
        unknown=tuple(gap for gap in gaps if last_cut is not None and gap.accepted <= last_cut),
        overdue=tuple(
            item.id
            for item in items.values()
            if item.next is not None and _waits_too_long(item, layout, disk, now)
        ),
        orphan_journals=tuple(sorted(_orphans(items, layout, disk))),
    )


def _settle_unentered(view: View, item: Item, message: _Message, now: datetime) -> None:
    """What the journal has and the ledger has not (a crash came between) counts as the journal has it."""
    if len(message.missing) <= item.open or item.reason:
        return
    details = view.details(item.id, now)
    for index, outcome in fold(item.total, details.entries).last.items():
        if outcome.kind.is_final:
            message.fates.setdefault(index, Fate.FAILED if outcome.kind.is_failure else Fate.DELIVERED)


def _confirmed(lost: list[Gap], books: Books, layout: Layout, disk: Disk) -> list[Gap]:
    """Those that are gaps still: what came in and went out while we read has its file or its line by now."""
    if not lost:
        return []
    there = set(_ids(layout, disk))
    books.read_on()
    return [
        Gap(gap.id, gap.accepted, books.messages[gap.id].missing)
        for gap in lost
        if gap.id not in there and books.messages[gap.id].missing
    ]


def _ids(layout: Layout, disk: Disk) -> Iterator[str]:
    for state in ("new", *STATES):
        for name in disk.names(layout.folder(state)):
            yield name.partition(",")[0]


def _waits_too_long(item: Item, layout: Layout, disk: Disk, now: datetime) -> bool:
    """Due for longer than a running relay leaves a message alone; in new/ the file's own time says since when."""
    try:
        since = disk.lstat(layout.message(item.state, item.name)).st_mtime
    except OSError:
        return False
    return not item.reason and now.timestamp() - since > _OVERDUE.total_seconds()


def _orphans(items: Iterable[str], layout: Layout, disk: Disk) -> set[str]:
    journals = {name for name in disk.names(layout.folder("journal")) if is_id(name)}
    orphans = journals.difference(items)
    return orphans.difference(_ids(layout, disk)) if orphans else orphans
