"""Accounts: for each claimed message, what its parcels have come to, until the attempt can be settled.

Outcomes are recorded as parcels end while others are under way, and settled with the last one, one step at a time
for a message. Refuses to know connections. Nothing here raises. When the spool cannot take an outcome, it is
offered again later: it is true whatever the disk says. What a step raises that is no error of the spool is a bug,
which is told, and the step comes again later too.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from relayd.base import events
from relayd.base.counters import Slot
from relayd.base.sections import Config
from relayd.deliver import retry
from relayd.deliver.account import Account
from relayd.deliver.digest import Digests, Verdict
from relayd.deliver.ending import Ending, Endings
from relayd.deliver.limits import Limits
from relayd.deliver.notices import Composed, Notices
from relayd.deliver.parcel import Parcel, Via, expire, in_doubt
from relayd.deliver.summaries import Summaries
from relayd.deliver.telling import Telling
from relayd.spool.errors import LeaseLost, NoSuchMessage, SpoolError
from relayd.spool.ids import derived
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome, are_final, has_delivery
from relayd.spool.protocol import Delivering


@dataclass(frozen=True)
class Office:
    """What accounts need of the process.

    `ask` has work done on the spool's thread and waits for it; it raises what that raises. `in_spool` does work
    there and calls back on the loop with its result or what it raised; `together` does it for all items that are
    there for the same. `settled` is called when a message is no longer in flight.
    """

    ask: Callable[[Callable[[], object]], Awaitable[object]]
    in_spool: Callable[[Callable[[], object], Callable[[object], None]], None]
    together: Callable[[Callable[[Sequence[Ending]], Sequence[object]], Ending, Callable[[object], None]], None]
    later: Callable[[float, Callable[[], None]], object]
    write: Callable[[events.Event], None]
    bug: Callable[[str, Exception], None]
    counters: Slot
    dice: random.Random
    settled: Callable[[], None]


class Accounts:
    """All messages in flight."""

    def __init__(
        self,
        config: Config,
        spool: Delivering,
        limits: Limits,
        office: Office,
        digests: Digests | None = None,
    ) -> None:
        self._config = config
        self._spool = spool
        self._limits = limits
        self._office = office
        self._notices = Notices(config, spool)
        self._endings = Endings(config, spool, self._notices)
        self._telling = Telling(office.write, office.counters.add)
        self._digests = digests or Digests(limits.notices)
        self._summaries = Summaries(self._digests, limits.collect, office.later, self._tell_together)
        self._accounts: dict[str, Account] = {}
        self._steps = 0
        # Messages that an exchanger has taken and the spool does not know of: a kill makes copies of them.
        self._unknown: set[str] = set()
        # Set while nobody waits for them to become fewer.
        self._is_near = asyncio.Event()
        self._is_near.set()

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def is_at_work(self) -> bool:
        """Whether the spool is asked to do something; not so while it is given time after a failure."""
        return self._steps > 0

    def open(self, job: Job, parcels: int, is_to_be_held: bool = False) -> None:
        """Begin: so many parcels are under way. With none, only the end is left to do."""
        account = self._accounts[job.id] = Account(job, parcels, is_in_doubt=job.is_cut)
        # A person is to decide, and finds in the journal when it was put there.
        account.is_to_be_held = account.was_tried = is_to_be_held
        if not parcels:
            self._step(account)

    def divide(self, parcel: Parcel) -> None:
        """One parcel has become two, each of which will be reported."""
        account = self._account_of(parcel)
        if account is not None:
            account.parcels += 1

    def report(self, parcel: Parcel, outcomes: tuple[Outcome, ...], via: Via) -> None:
        """One parcel came to an end; without outcomes it was not tried, and comes again soon."""
        account = self._account_of(parcel)
        if account is None:
            return
        if not are_final(outcomes):
            outcomes = self._judged(parcel.job, outcomes)
        account.note(outcomes)
        is_taken = has_delivery(outcomes)
        if is_taken and not account.is_put_off:
            self._unknown.add(account.job.id)
        self._step(account)
        try:
            if outcomes and not is_taken:
                self._office.counters.add("attempts_failed")
            for outcome in outcomes:
                self._telling.outcome(parcel.job, outcome, via)
        except Exception as error:
            # Whoever reports has other parcels to report.
            self._office.bug(f"telling of {parcel.job.id}", error)

    def _judged(self, job: Job, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """Beyond its lifetime what waits is given up, but for what a person is to decide about."""
        if not retry.is_expired(job.envelope.arrived, self._config.delivery.lifetime, datetime.now(UTC)):
            return outcomes
        held = [outcome for outcome in outcomes if outcome.kind is Kind.IN_DOUBT and self._holds_doubts]
        return (*expire(outcome for outcome in outcomes if outcome not in held), *held)

    def postpone(self, parcel: Parcel, due: datetime) -> None:
        """One parcel was not tried, since its destination rests until an instant."""
        account = self._account_of(parcel)
        if account is not None:
            account.note_rest(due)
            self._step(account)

    def _account_of(self, parcel: Parcel) -> Account | None:
        account = self._accounts.get(parcel.job.id)
        if account is None:
            self._office.bug("report", LookupError(f"{parcel.job.id} is not in flight"))
        return account

    def is_behind(self) -> bool:
        """Whether the spool is far behind with what exchangers have taken."""
        return len(self._unknown) >= self._limits.unrecorded

    async def caught_up(self) -> None:
        """Return when the spool is not far behind with what exchangers have taken.

        A disk that fails is not waited for: it may be full, and the mail that goes makes room.
        """
        while self.is_behind():
            self._is_near.clear()
            await self._is_near.wait()

    def _is_known(self, account: Account) -> None:
        """The spool knows what exchangers have taken of the message, or is not about to be told."""
        self._unknown.discard(account.job.id)
        if not (self._is_near.is_set() or self.is_behind()):
            self._is_near.set()

    async def promise(self, parcel: Parcel, via: Via) -> None:
        """Write down that one parcel may arrive, before its last octets go, so that a kill leaves word of it."""
        account = self._account_of(parcel)
        if account is None:
            raise LeaseLost(f"{parcel.job.id} is not in flight")
        told = in_doubt(parcel, via, datetime.now(UTC))
        await self._office.ask(lambda: self._spool.record(parcel.job, (told,)))

    # Steps at the spool.

    def _step(self, account: Account) -> None:
        """Have the next thing done that there is to do."""
        if account.is_busy:
            return
        if account.is_lost:
            if not account.parcels:
                self._close(account)
        elif not account.parcels:
            self._finish(account)
        elif account.unrecorded:
            self._begin(account, self._record(account))

    def _finish(self, account: Account) -> None:
        """The last step, at once or, where its originator gets too many notifications, after a while."""
        owed = account.owed
        originator = self._notices.originator(account.job.envelope, owed) if owed else None
        if originator is None:
            # Nobody is to be told.
            self._end(account)
            return
        if account.verdict is None:
            self._judge(account, originator)
        if account.verdict is not Verdict.SUMMARISE:
            self._end(account)
        elif account.unrecorded:
            # Collecting takes a while; if the process ends meanwhile, who has the mail must not get it again.
            self._begin(account, self._record(account))
        else:
            account.verdict = Verdict.TELL
            self._summaries.add(account, originator)

    def _judge(self, account: Account, originator: str) -> None:
        account.verdict = Verdict.TELL
        # What a person is to decide about is held at once, and so told at once.
        if not self._is_to_be_held(account):
            account.verdict, until = self._digests.judge(originator, datetime.now(UTC))
            if account.verdict is Verdict.WAIT:
                account.following = min(until, self._following(account)) if account.is_open else until

    def _tell_together(self, accounts: Sequence[Account], originator: str) -> None:
        """One notification for all of them: it is queued as the first one's, the others follow it."""
        first, *others = accounts
        first.others, first.originator = others, originator
        self._end(first)

    def _begin(self, account: Account, work: Callable[[], object]) -> None:
        self._office.in_spool(work, self._busy(account))

    def _busy(self, account: Account) -> Callable[[object], None]:
        """A step begins; give what is to be called with what came of it."""
        account.is_busy = True
        self._steps += 1
        return partial(self._done, account)

    def _done(self, account: Account, result: object) -> None:
        self._steps -= 1
        if isinstance(result, Exception):
            self._failed(account, result)
            return
        account.is_busy = False
        account.delay = 0.0
        if isinstance(result, _Recorded):
            del account.unrecorded[: result.outcomes]
            if has_delivery(account.unrecorded):
                self._unknown.add(account.job.id)
            else:
                self._is_known(account)
        elif isinstance(result, Composed):
            self._close(account)
            self._tell_end(account, result)
            for other in account.others:
                other.told_by = derived(account.job.id, result.notices[0].attempt)
                self._telling.told_by(other.job, other.told_by, result.notices[0])
                self._end(other)
            return
        self._step(account)

    def _failed(self, account: Account, error: Exception) -> None:
        """A step was not done: it is tried again after a while, unless the message is not ours any more."""
        if not isinstance(error, LeaseLost | NoSuchMessage):
            self._tell_trouble(account.job, error)
            account.delay = min(max(self._limits.trouble, 2 * account.delay), self._limits.trouble_most)
            self._is_known(account)
            self._office.later(account.delay, lambda: self._try_again(account))
            return
        # Somebody else has the message now: what follows is theirs.
        self._office.write(events.SpoolTrouble(id=account.job.id, reason=str(error)))
        account.is_lost = True
        self._is_known(account)
        if account.others:
            # The summary was to be queued as this one's; it is the next one's now.
            self._tell_together(account.others, account.originator)
        account.delay = 0.0
        self._try_again(account)

    def _tell_trouble(self, job: Job, error: Exception) -> None:
        if isinstance(error, SpoolError | OSError):
            self._office.write(events.SpoolTrouble(id=job.id, reason=str(error)))
        else:
            self._office.bug(f"settling of {job.id}", error)

    def _try_again(self, account: Account) -> None:
        account.is_busy = False
        self._step(account)

    def _record(self, account: Account) -> Callable[[], object]:
        job, outcomes = account.job, tuple(account.unrecorded)

        def record() -> object:
            self._spool.record(job, outcomes)
            return _Recorded(len(outcomes))

        return record

    def _end(self, account: Account) -> None:
        """The last step."""
        job = account.job
        if account.following is None:
            account.following = self._following(account)
        if not account.was_tried and job.open and not job.owed:
            # What was not tried leaves no line in a journal.
            self._begin(account, self._put_back(job, account.following))
            return
        ending = Ending(
            job,
            tuple(account.unrecorded),
            account.following,
            account.owed_together,
            account.originator,
            self._late(account) if account.waiting else (),
            hold=self._is_to_be_held(account),
            owe=account.verdict is Verdict.WAIT,
            told_by=account.told_by,
        )
        self._office.together(self._endings.carry_out, ending, self._busy(account))

    def _put_back(self, job: Job, due: datetime) -> Callable[[], object]:
        def put_back() -> object:
            self._spool.put_back(job, due)
            return Composed()

        return put_back

    @property
    def _holds_doubts(self) -> bool:
        return self._config.delivery.in_doubt == "hold"

    def _is_to_be_held(self, account: Account) -> bool:
        return account.is_to_be_held or (account.is_in_doubt and self._holds_doubts)

    def _late(self, account: Account) -> tuple[Outcome, ...]:
        """What waits, where the sender is to be told of a delay: once, when the message is old enough."""
        job, after = account.job, self._config.delivery.delay_warning
        if after is None or job.is_warned or not retry.is_expired(job.envelope.arrived, after, datetime.now(UTC)):
            return ()
        return tuple(account.waiting)

    def _following(self, account: Account) -> datetime:
        now, dice = datetime.now(UTC), self._office.dice
        if account.waiting:
            return retry.next_attempt(self._config.delivery.retry, account.job.attempt, now, dice)
        if not account.is_open:
            # Nobody is to be tried again.
            return now
        if account.due is not None:
            # Not all at the same instant.
            return account.due + timedelta(seconds=self._limits.spread * dice.random())
        return now + timedelta(seconds=self._limits.untried * dice.uniform(1, 2))

    def _close(self, account: Account) -> None:
        del self._accounts[account.job.id]
        self._is_known(account)
        self._office.settled()

    def _tell_end(self, account: Account, composed: Composed) -> None:
        for error in composed.errors:
            self._tell_trouble(account.job, error)
        if account.is_in_doubt and self._holds_doubts and account.is_open and not account.is_to_be_held:
            reason = 'it may have arrived, and in_doubt = "hold" says so'
            job = account.job
            self._office.write(
                events.QueueMoved(id=job.id, session=job.envelope.session, now="hold", reason=reason)
            )
        self._telling.notices(account.job, composed)


@dataclass(frozen=True, slots=True)
class _Recorded:
    outcomes: int
