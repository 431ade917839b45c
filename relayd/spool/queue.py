"""The queue: the delivery process's side of the maildir spool, from the claim of a message to its end.

A message is claimed by its ID, not its path: people may move files by hand at any time. Where messages are and
when they are due is `watch`'s to know, what an attempt comes to `settle`'s, and what a crash left `recovery`'s.

Synchronous and for one thread, but for `cached`, `read` and `reserve`. Refuses to know exchangers. Raises
SpoolError; what is not a sound message of ours goes to failed/ with the reason in the log, and what the disk
refuses now is tried again later.
"""

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

from relayd.base import events
from relayd.spool.aside import Aside
from relayd.spool.by_hand import ByHand
from relayd.spool.claim import Claim
from relayd.spool.claiming import OPENING, Claiming
from relayd.spool.claims import Claims
from relayd.spool.disk import Disk
from relayd.spool.errors import SpoolFull, from_os
from relayd.spool.job import Job, Notice, Recovery, Settlement
from relayd.spool.layout import STATES, Layout, name_of
from relayd.spool.ledger import Fate, Ledger, Line
from relayd.spool.message import mail_data
from relayd.spool.outcome import Outcome
from relayd.spool.recovery import Sweep, end_orphans, held, sync_folders
from relayd.spool.reserve import Reserve
from relayd.spool.schedule import NOW, Place, Schedule
from relayd.spool.settle import Settling
from relayd.spool.tidy import Tidying
from relayd.spool.troubles import Troubles
from relayd.spool.watch import Watch

# Errors that are about this process or this host rather than about the file; all taking waits for so long.
_OUR_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_STALL_SECONDS = 1.0
# A message that the disk does not give is asked for again after so long.
_TRY_AGAIN_SECONDS = 60.0


class Queue:
    """All messages of one spool, for the one process that holds its delivery lock.

    `longest` is the longest time in seconds between two attempts: no message is scheduled further ahead.
    """

    def __init__(
        self,
        layout: Layout,
        report: Callable[[events.Event], None],
        *,
        longest: float,
        disk: Disk | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._layout = layout
        self._report = report
        self._disk = disk = disk or Disk()
        self._now = now
        self._claims = Claims()
        self._reserved: set[str] = set()
        self._stalled_until = 0.0
        self._troubles = Troubles(report)
        self._ledger = Ledger(layout, disk)
        self._reserve = Reserve(layout, disk)
        self._tidying = Tidying(layout, disk, self._ledger, self._troubles)
        self._aside = Aside(layout, disk, report, self._troubles, self._tidying.moved)
        self._schedule = Schedule()
        self._by_hand = ByHand(layout, disk, self._schedule, self._claims, report, now)
        self._watch = Watch(
            layout, disk, self._schedule, self._claims, self._aside, self._by_hand, self._troubles, longest, now
        )
        self._sweep = Sweep(layout, disk, self._ledger, self._aside, self._troubles, self._tidying.moved, report)
        self._claiming = Claiming(
            layout,
            disk,
            self._claims,
            self._watch,
            self._sweep,
            self._aside,
            self._by_hand,
            self._troubles,
            report,
            now,
        )
        self._settling = Settling(layout, disk, self._ledger, self._reserve, self._tidying, self._troubles, now)

    # Finding work.

    def recover(self) -> Recovery:
        """Begin: finish what a crash left half done. Raises OSError and WrongSpool."""
        self._layout.check_use(disk=self._disk)
        sync_folders(self._layout, self._disk)
        notices = self._sweep.notifications(self._now())
        swept = self._sweep.drafts()
        elsewhere = held(self._layout, self._disk)
        self._watch.read("cur")
        self._watch.read("new")
        for message_id, state in elsewhere.items():
            place = self._schedule.get(message_id)
            if place is not None:
                self._schedule.forget(message_id)
                name = name_of(place.id, place.size)
                self._aside.put(place.state, name, f"{state}/ has a message of its ID, which counts")
        self._by_hand.begin()
        orphans = end_orphans(self._layout, self._disk, self._tidying, {*self._schedule, *elsewhere})
        self._reserve.fill()
        self._mark(Fate.BEGAN)
        return Recovery(
            waiting=self._schedule.count("new"),
            scheduled=self._schedule.count("cur"),
            held=sum(state == "hold" for state in elsewhere.values()),
            swept=swept,
            notices=notices,
            orphans=orphans,
            set_aside=self._aside.count,
        )

    def close(self) -> None:
        """End: nothing is in flight any more. What was done is durable, and the ledger says so."""
        self.tidy()
        if self._tidying.is_done:
            self._mark(Fate.ENDED)

    def _mark(self, fate: Fate) -> None:
        """For the audit, which has to know whether the machine went down while this process ran."""
        with contextlib.suppress(OSError):
            self._ledger.append([Line(self._now(), fate, self._disk.boot(), ())])
            if fate is Fate.ENDED:
                self._ledger.sync()

    def hear(self, names: Iterable[str]) -> None:
        """Take note of messages that a worker says it has put into new/."""
        for name in names:
            self._watch.note("new", name, is_fresh=True)

    def scan(self, state: Literal["new", "cur"]) -> None:
        """Look into new/ or cur/ for what no hint told of: the truth, where hints are only haste."""
        self._watch.scan(state)
        if state == "new":
            self._by_hand.look()
        if state == "cur" and self._watch.look_again():
            try:
                self._sweep.drafts()
                self._troubles.over("read tmp/")
            except OSError as error:
                self._troubles.met("read tmp/", error.strerror or str(error))

    def next_due(self) -> float | None:
        """When something may be taken (seconds since 1970, 0.0 for now), or None."""
        due = self._schedule.next_due()
        return due if due is None else max(due, self._stalled_until)

    @property
    def waiting(self) -> int:
        """Messages known, due or not, beside those claimed."""
        return len(self._schedule)

    def take(self, limit: int, now: float) -> list[Job]:
        """Claim up to so many messages that are due at `now` (seconds since 1970)."""
        jobs: list[Job] = []
        if now < self._stalled_until:
            return jobs
        self._stalled_until = 0.0
        while len(jobs) < limit and (place := self._schedule.pop(now)) is not None:
            try:
                job = self._claiming.claim(place, now)
            except OSError as error:
                reason = error.strerror or str(error)
                if error.errno in _OUR_OWN:
                    self._troubles.met(OPENING, reason)
                    self._schedule.put(place)
                    self._stalled_until = now + _STALL_SECONDS
                    break
                self._troubles.met(f"open {place.id}", reason, place.id)
                self._schedule.put(place._replace(due=now + _TRY_AGAIN_SECONDS, is_fresh=False))
                continue
            if job is not None:
                jobs.append(job)
        return jobs

    def claim(self, message_id: str) -> Job | None:
        """Claim one message for its operator, due or not, also from hold/.

        None while it is in flight, or cannot be claimed; raises NoSuchMessage and OSError.
        """
        if message_id in self._claims:
            return None
        place = self._schedule.get(message_id)
        if place is None or not self._disk.exists(self._path(place)):
            place = self._claiming.find(message_id)
        self._schedule.forget(message_id)
        try:
            return self._claiming.claim(place)
        except OSError:
            if place.state != "hold":
                self._schedule.put(place)
            raise

    def _path(self, place: Place) -> str:
        return self._layout.message(place.state, name_of(place.id, place.size))

    # Mail data.

    def cached(self, job: Job) -> bytes | None:
        """The mail data when it is in memory; from any thread."""
        claim = self._claims.get(job.id)
        return None if claim is None or claim.token != job.token else claim.mail_data

    def read(self, job: Job) -> Iterator[bytes]:
        """The mail data in portions, from any thread; may block. NoSuchMessage when the file was taken away."""
        claim = self._claims.of(job)
        if claim.mail_data is not None:
            yield claim.mail_data
        else:
            yield from mail_data(self._disk, self._layout, (claim.state, *STATES), claim.name, claim.offset)

    # The attempt and its end.

    def reserve(self, job: Job) -> None:
        """Before the final dot: raise SpoolFull when what comes of it could not be recorded; from any thread.

        A single recipient needs no record lest it get two copies: it has the mail and the file goes, or has not.
        Unless its success may have to be told, for then the file stays until that is done.
        """
        if len(job.open) == 1 and not job.envelope.recipients[job.open[0]].wants_success:
            return
        self._reserved.add(job.id)
        if not self._reserve.is_whole and len(self._reserve) < len(self._reserved):
            raise SpoolFull("there is no room to record what comes of it")

    def record(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Make outcomes durable while other recipients of the job are still being tried."""
        claim = self._claims.of(job)
        claim.take(outcomes)
        self._settling.record(claim)

    def settle(self, settlement: Settlement) -> bool:
        """End the attempt: outcomes, notices, then the end or the next date. True when the message is done."""
        (result,) = self.settle_all([settlement])
        if isinstance(result, Exception):
            raise result
        return result

    def settle_all(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """The same for many: what each gives or raises. Of those that end, the ledger is told in one append."""
        results: list[bool | Exception] = []
        ending: list[tuple[int, Claim]] = []
        lines: list[Line] = []
        for place, settlement in enumerate(settlements):
            try:
                claim = self._claims.of(settlement.job)
                is_end = self._settle(claim, settlement, lines)
            except Exception as error:
                results.append(error)
                continue
            results.append(is_end)
            if is_end:
                ending.append((place, claim))
        # Where its recipients have gone is written down before a message is.
        self._settling.enter(lines)
        for place, claim in ending:
            try:
                self._end(claim)
            except Exception as error:
                results[place] = error
        return results

    def _settle(self, claim: Claim, settlement: Settlement, lines: list[Line]) -> bool:
        """All but the end, to which it came if True; what the ledger is to be told before that goes to `lines`."""
        claim.take(settlement.outcomes)
        self._settling.record_attempt(claim, settlement.job.attempt, settlement.next)
        if settlement.owe:
            self._settling.record(claim)
            self._release(claim, settlement.next.timestamp())
            return False
        unentered = self._notify(claim, settlement.notices, settlement.told_by)
        if not claim.open:
            lines += unentered
            return True
        self._settling.enter(unentered)
        if settlement.hold:
            self._settling.hold(claim)
            self._by_hand.holds(claim.id, claim.name)
            self._forget(claim)
        else:
            self._release(claim, settlement.next.timestamp())
        return False

    def _end(self, claim: Claim) -> None:
        self._settling.end(claim)
        self._by_hand.ended(claim.id)
        self._forget(claim)

    def remove(self, job: Job, notices: tuple[Notice, ...] = ()) -> None:
        """End a message that is not to be delivered; the ledger says that its open recipients were removed.

        `notices` tell of the failures that the job owes: with the message their journal goes.
        """
        claim = self._claims.of(job)
        self._settling.enter(self._notify(claim, notices))
        if claim.open:
            line = Line(self._now(), Fate.REMOVED, claim.id, tuple(sorted(claim.open)))
            try:
                self._ledger.append([line])
                self._ledger.sync()
            except OSError as error:
                raise from_os(error, "ledger") from error
            claim.open.clear()
        self._end(claim)

    def put_back(self, job: Job, due: datetime | None = None) -> None:
        """Give a claim up without an outcome or a journal line: the message is due as before, or at `due`."""
        claim = self._claims.of(job)
        if due is not None:
            self._release(claim, due.timestamp())
            return
        for attempt in claim.prepared.keys() - claim.visible:
            self._sweep.leave(claim.id, attempt)
        self._forget(claim)
        if claim.state != "hold":
            self._schedule.put(Place(claim.due, claim.id, claim.size, claim.state))

    def tidy(self) -> None:
        """Once a second: sync folders whose names changed, drop journals of ended messages, fill the reserve."""
        self._tidying.run(lambda message_id: message_id in self._claims or message_id in self._schedule)
        self._reserve.fill()

    def _notify(self, claim: Claim, notices: tuple[Notice, ...], told_by: str = "") -> list[Line]:
        lines = self._settling.notify(claim, notices, told_by)
        for attempt in sorted(claim.visible):
            self._watch.note("new", name_of(*claim.prepared[attempt]), is_fresh=True)
        return lines

    def _release(self, claim: Claim, due: float) -> None:
        state = self._settling.release(claim, due)
        self._forget(claim)
        if state in ("new", "cur"):
            self._schedule.put(Place(NOW if state == "new" else due, claim.id, claim.size, state))

    def _forget(self, claim: Claim) -> None:
        self._reserved.discard(claim.id)
        self._claims.drop(claim)
