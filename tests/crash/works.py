"""The works: pieces of a relay's life, each short enough to be killed at every system call of it.

A work is prepared first, which is not looked at, and gives what is to be done under observation. Beside the sound
ones stand some that leave a step out: a harness that does not find those is blind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from relayd.base import events
from relayd.spool.disk import Disk
from relayd.spool.ids import Ids
from relayd.spool.intake import LARGE, Draft, Intake
from relayd.spool.job import Job, Settlement
from relayd.spool.layout import Layout
from relayd.spool.outcome import Kind
from relayd.spool.queue import Queue
from relayd.spool.together import TogetherDisk
from tests.crash.town import Kinds, Town, mail, taken
from tests.spool.exchange import START

Prepare = Callable[[Layout, Town], Callable[[], None]]

_LONGEST = 1e9
_ROUNDS = 3
_BEHIND = 0.9


@dataclass(frozen=True)
class Work:
    """`kinds` are the exchangers', before the crash and after it."""

    prepare: Prepare
    kinds: Kinds = taken


def fails_first(index: int, attempt: int) -> Kind:
    """The first recipient fails, the second has to wait once, the others take it."""
    if index == 0:
        return Kind.FAILED
    return Kind.DEFERRED if index == 1 and attempt == 1 else Kind.DELIVERED


def waits_once(index: int, attempt: int) -> Kind:
    """Not now, then yes."""
    return Kind.DEFERRED if attempt == 1 else Kind.DELIVERED


def relays(index: int, attempt: int) -> Kind:
    """All is taken where nobody tells of it."""
    return Kind.RELAYED


def never(index: int, attempt: int) -> Kind:
    """Nobody takes it."""
    return Kind.FAILED


def _ids() -> Ids:
    """The same ones each time, so that each run makes the same calls."""
    return Ids(now=lambda: int(START.timestamp() * 1e9), draw=lambda below: 7)


# What a start tells of what it has put right.
MENDED = (events.DsnQueued, events.MessageUnfinished)


class Alone(TogetherDisk):
    """As in a worker; nobody else is at work, so that nothing has to be waited for before drafts are swept."""

    def rest(self, seconds: float) -> None:
        pass


def _queue(layout: Layout, queue: type[Queue] = Queue, disk: Disk | None = None) -> Queue:
    # Its clock stands, a little behind, so that it reads the folders as often however fast it goes.
    began = datetime.now(UTC) - timedelta(seconds=_BEHIND)
    return queue(layout, _ignore, longest=_LONGEST, disk=disk or Alone(), now=lambda: began)


def _ignore(event: events.Event) -> None:
    """What the disk refuses shows in what becomes of the mail."""


# The way in.

_SIZES = (1000, 2000, 3000, 2 * LARGE)


def _drafts(intake: Intake, town: Town) -> list[Draft]:
    written = (town.write(intake, 2, octets) for octets in _SIZES)
    return [draft for draft in written if draft is not None]


def commits(layout: Layout, town: Town) -> Callable[[], None]:
    """Three small messages and a large one, in one group; then one more message."""
    intake = Intake(layout, 0, ids=_ids())

    def work() -> None:
        town.commit(intake, _drafts(intake, town))
        last = town.write(intake, 1, 500)
        if last is not None:
            town.commit(intake, [last])

    return work


def commits_late(layout: Layout, town: Town) -> Callable[[], None]:
    """Broken: says 250 and commits then."""
    intake = Intake(layout, 0, ids=_ids())

    def work() -> None:
        drafts = _drafts(intake, town)
        for draft in drafts:
            town.acknowledge(draft)
        intake.commit(drafts)

    return work


# The way out.


def delivers(
    recipients: int, *, split: bool = False, queue: type[Queue] = Queue, disk: Disk | None = None
) -> Prepare:
    """From the reading of new/ to the end of a message, and of the notifications that come of it."""

    def prepare(layout: Layout, town: Town) -> Callable[[], None]:
        _bring_in(layout, town, _ids(), recipients)
        delivering = _queue(layout, queue, disk)
        delivering.recover()

        def work() -> None:
            for _ in range(_ROUNDS):
                town.round(delivering, split=split)
                delivering.tidy()

        return work

    return prepare


def _bring_in(layout: Layout, town: Town, ids: Ids, recipients: int) -> str:
    """Commit a message; its name."""
    intake = Intake(layout, 0, ids=ids)
    draft = town.write(intake, recipients, 1500)
    assert draft is not None
    (name,) = town.commit(intake, [draft])
    return name


class EndsFirst(Queue):
    """Broken: takes the message away before its notification is queued."""

    def settle(self, settlement: Settlement) -> bool:
        claim = self._claims[settlement.job.id]
        claim.take(settlement.outcomes)
        self._settling.end(claim)
        self._settling.notify(claim, settlement.notices)
        self._forget(claim)
        return True


class TellsTwice(Queue):
    """Broken: makes the notification visible before the journal knows of the failure."""

    def settle(self, settlement: Settlement) -> bool:
        settling, claim = self._settling, self._claims[settlement.job.id]
        claim.take(settlement.outcomes)
        unsaved, claim.unsaved = claim.unsaved, []
        claim.is_told = True
        settling.notify(claim, settlement.notices)
        claim.is_told, claim.unsaved = False, unsaved
        return super().settle(settlement)


class Forgetful(Alone):
    """Broken: writes nothing into journals."""

    def __init__(self) -> None:
        super().__init__()
        self._journals: set[int] = set()

    def open_append(self, path: str) -> int:
        fd = super().open_append(path)
        if "/journal/" in path:
            self._journals.add(fd)
        return fd

    def write(self, fd: int, octets: bytes) -> None:
        if fd not in self._journals:
            super().write(fd, octets)

    def close(self, fd: int) -> None:
        self._journals.discard(fd)
        super().close(fd)


# The start.


class _Dies(BaseException):
    """A process ends here."""


class _Dying(Alone):
    """At the first call of this kind on a path with this folder in it, the process is gone."""

    def __init__(self, call: str, folder: str) -> None:
        super().__init__()
        self._dies_at = (call, folder)

    def _step(self, call: str, path: str) -> None:
        if call == self._dies_at[0] and f"/{self._dies_at[1]}/" in path:
            raise _Dies

    def rename(self, source: str, target: str) -> None:
        self._step("rename", source)
        super().rename(source, target)

    def open_append(self, path: str) -> int:
        self._step("open_append", path)
        return super().open_append(path)

    def unlink(self, path: str) -> None:
        self._step("unlink", path)
        super().unlink(path)


def starts(layout: Layout, town: Town) -> Callable[[], None]:
    """What processes leave that were killed at their worst moments, and a start that finds all of it."""
    ids = _ids()
    for kinds, recipients, call, folder in (
        # A notification that no journal speaks of yet, and one that a journal speaks of.
        (never, 1, "open_append", "journal"),
        (never, 1, "rename", "tmp"),
        # A failure, a success and one that waits, at the same points.
        (fails_first, 3, "rename", "tmp"),
        # A message that waits with a journal, before its move to cur/ and after it.
        (waits_once, 2, "rename", "new"),
        (waits_once, 2, "", ""),
        # A journal without a message.
        (never, 1, "unlink", "journal"),
    ):
        name = _bring_in(layout, town, ids, recipients)
        town.kinds = kinds
        _live_until(_queue(layout, disk=_Dying(call, folder)), name, town)
    left = ids.next()
    with open(layout.draft(left), "xb") as file:
        file.write(mail(left, 5000))
    town.kinds = taken

    def work() -> None:
        queue = _queue(layout)
        try:
            queue.recover()
        except OSError:
            # Such a process does not begin; the next one tries again.
            return
        for _ in range(_ROUNDS):
            town.round(queue)
        queue.tidy()

    return work


def _live_until(queue: Queue, name: str, town: Town) -> None:
    queue.hear([name])
    jobs: list[Job] = queue.take(1, START.timestamp())
    try:
        town.attempt(queue, jobs[0])
        queue.tidy()
    except _Dies:
        return


WORKS = {
    "a commit": Work(commits),
    "one recipient": Work(delivers(1)),
    "three destinations": Work(delivers(3, split=True)),
    "a deferral": Work(delivers(2), waits_once),
    "a failure": Work(delivers(1), never),
    "word of success": Work(delivers(1), relays),
    "mixed outcomes": Work(delivers(3, split=True), fails_first),
    "mixed, one destination": Work(delivers(3), fails_first),
    "a start": Work(starts),
}

BROKEN = {
    "250 before the commit": Work(commits_late),
    "end before the notification": Work(delivers(1, queue=EndsFirst), never),
    "notification before the journal": Work(delivers(1, queue=TellsTwice), never),
    "nothing in the journal": Work(delivers(3, split=True, disk=Forgetful())),
}
