"""An exchange: the mail exchangers of all the world, and the process that delivers to them, without a network.

What an exchanger has taken it has, whatever crashes here: it is the witness of what was lost and what came twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from relayd.smtp.reply import reply
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.errors import SpoolError
from relayd.spool.job import Job, Notice, Settlement
from relayd.spool.outcome import Kind, Outcome
from relayd.spool.protocol import Delivering

START = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
_REPLIES = {
    Kind.DELIVERED: reply(250, "2.0.0", "Ok"),
    Kind.RELAYED: reply(250, "2.0.0", "Ok"),
    Kind.DEFERRED: reply(451, "4.3.0", "not now"),
    Kind.IN_DOUBT: reply(451, "4.4.2", "lost"),
    Kind.FAILED: reply(550, "5.1.1", "no such user"),
    Kind.EXPIRED: reply(451, "4.3.0", "not now"),
}


def envelope(*recipients: str, reverse_path: str | None = "originator@example.org") -> Envelope:
    """An envelope for these local parts at one domain."""
    return Envelope(
        arrived=START,
        reverse_path=reverse_path,
        recipients=tuple(Recipient(f"{each}@example.net") for each in recipients or ("one",)),
    )


def outcome(kind: Kind, *recipients: int, attempt: int = 1, at: datetime = START) -> Outcome:
    """What an attempt came to for these recipients."""
    return Outcome(at=at, recipients=recipients, kind=kind, reply=_REPLIES[kind], attempt=attempt)


def notice(job: Job, attempt: int) -> Notice:
    """The notification about an attempt of a message; it says which in its mail data."""
    return Notice(attempt, envelope("originator", reverse_path=None), f"about {job.id} {attempt}\r\n".encode())


T = TypeVar("T")
Key = tuple[str, int]
_ROUNDS = 10


@dataclass(frozen=True)
class Facts:
    """What is true outside of the spool at one moment.

    By message ID and recipient: what exchangers have `taken` and how often, and what the spool has said: `settled`
    is recorded unless the power fails, `durable` in any case. `refused` has the attempt too; of which messages and
    attempts the originator was `told`.
    """

    acknowledged: frozenset[Key]
    taken: frozenset[tuple[Key, int]]
    settled: frozenset[Key]
    durable: frozenset[Key]
    refused: frozenset[tuple[Key, int]]
    told: frozenset[Key]


@dataclass
class Exchange:
    """`kinds` says of a recipient's index and an attempt what comes of it; otherwise all is taken.

    `contents` is the mail data that may come, by message ID. What the spool cannot do is asked of it again as
    often as there is `patience`.
    """

    kinds: Callable[[int, int], Kind] = lambda index, attempt: Kind.DELIVERED
    contents: dict[str, bytes] = field(default_factory=dict)
    patience: int = 0
    acknowledged: set[Key] = field(default_factory=set)
    taken: Counter[Key] = field(default_factory=Counter)
    settled: set[Key] = field(default_factory=set)
    durable: set[Key] = field(default_factory=set)
    refused: set[tuple[Key, int]] = field(default_factory=set)
    told: set[Key] = field(default_factory=set)
    # Those whose originator asked for word of success, and whom an exchanger has that gives none.
    relayed: set[Key] = field(default_factory=set)

    def facts(self) -> Facts:
        """A copy of what is known now."""
        return Facts(
            acknowledged=frozenset(self.acknowledged),
            taken=frozenset(self.taken.items()),
            settled=frozenset(self.settled),
            durable=frozenset(self.durable),
            refused=frozenset(self.refused),
            told=frozenset(self.told),
        )

    def go_on(self, facts: Facts) -> "Exchange":
        """The same world after a crash, at which these facts held."""
        return replace(
            self,
            acknowledged=set(facts.acknowledged),
            taken=Counter(dict(facts.taken)),
            settled=set(facts.settled),
            durable=set(facts.durable),
            refused=set(facts.refused),
            told=set(facts.told),
            relayed=set(self.relayed),
        )

    def attempt(self, queue: Delivering, job: Job, groups: Sequence[Iterable[int]] | None = None) -> bool:
        """One attempt at a job, its recipients in groups with a destination each; True when it was the end."""
        parts = [tuple(group) for group in (groups if groups is not None else [job.open])]
        settlement = self._try_all(queue, job, parts)
        has_ended = self._insist(partial(queue.settle, settlement))
        self._end(settlement, has_journal=not has_ended or len(parts) > 1)
        return has_ended

    def attempt_together(self, queue: Delivering, jobs: Sequence[Job]) -> None:
        """One attempt at each of several jobs, which end at once."""
        settlements = [self._try_all(queue, job, [job.open]) for job in jobs]
        for settlement, has_ended in zip(settlements, queue.settle_all(settlements), strict=True):
            if isinstance(has_ended, Exception):
                raise has_ended
            self._end(settlement, has_journal=not has_ended)

    def _try_all(self, queue: Delivering, job: Job, parts: Sequence[tuple[int, ...]]) -> Settlement:
        """What comes of an attempt; of all parts but the last it is recorded."""
        content = b"".join(queue.read(job))
        outcomes: tuple[Outcome, ...] = ()
        owed = list(job.owed)
        for number, group in enumerate(parts):
            outcomes = tuple(self._try(job, index, content) for index in group)
            owed += [each for each in outcomes if each.kind.is_owed]
            if number < len(parts) - 1:
                self._insist(partial(queue.record, job, outcomes))
                self._learn(job, outcomes, has_journal=True)
        notices = tuple(notice(job, attempt) for attempt in sorted({each.attempt for each in owed}))
        return Settlement(job, outcomes, START + timedelta(days=job.attempt), notices)

    def _end(self, settlement: Settlement, *, has_journal: bool) -> None:
        job, outcomes = settlement.job, settlement.outcomes
        has_journal = has_journal or job.attempt > 1 or bool(settlement.notices)
        self._learn(job, (*job.owed, *outcomes), has_journal=has_journal)

    def drain(self, queue: Delivering, now: float) -> None:
        """Deliver until nothing is left that is due at `now`, or something is clearly there for ever."""
        for _ in range(_ROUNDS):
            queue.scan("new")
            queue.scan("cur")
            jobs = queue.take(10, now)
            if not jobs:
                break
            # Notifications before what they are about, where a crash has left both.
            for job in reversed(jobs):
                self.attempt(queue, job)
        self.tidy(queue)

    def tidy(self, queue: Delivering) -> None:
        """The second is over: what was settled is durable."""
        queue.tidy()
        self.durable |= self.settled

    def is_about(self, key: Key) -> bool:
        """Whether a key is a notification's."""
        return key[0] not in {message_id for (message_id, _), _ in self.refused}

    def _insist(self, call: Callable[[], T]) -> T:
        for _ in range(self.patience):
            try:
                return call()
            except SpoolError:
                continue
        return call()

    def _try(self, job: Job, index: int, content: bytes) -> Outcome:
        if content.startswith(b"about "):
            about, attempt = content.decode().split()[1:]
            self.told.add((about, int(attempt)))
            kind = Kind.DELIVERED
        else:
            assert content == self.contents.get(job.id, content), "the mail data is another"
            kind = self.kinds(index, job.attempt)
        if kind.is_delivery:
            self.taken[job.id, index] += 1
        if kind is Kind.RELAYED:
            self.relayed.add((job.id, index))
        if kind.is_failure:
            self.refused.add(((job.id, index), job.attempt))
        return outcome(kind, index, attempt=job.attempt)

    def _learn(self, job: Job, outcomes: Iterable[Outcome], *, has_journal: bool) -> None:
        for each in outcomes:
            if each.kind.is_final:
                self.settled.update((job.id, index) for index in each.recipients)
        if has_journal:
            self.durable |= {key for key in self.settled if key[0] == job.id}
