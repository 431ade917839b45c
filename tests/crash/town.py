"""A town: the exchangers of all the world and the process that delivers to them, without a network.

It tells each thing as a fact the moment it is true. Refuses to know crashes. What the spool cannot do is asked of
it again a few times, as the delivery process does, and then given up.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from relayd.spool.errors import SpoolError
from relayd.spool.intake import Draft, Intake
from relayd.spool.job import Job, Notice, Settlement
from relayd.spool.outcome import Kind, Outcome
from relayd.spool.queue import Queue
from tests.crash.facts import Teller
from tests.spool.exchange import START, envelope, outcome

Kinds = Callable[[int, int], Kind]
T = TypeVar("T")

_PATIENCE = 3
_PORTION = 65_536
_ABOUT = b"about "


def mail(message_id: str, octets: int) -> bytes:
    """Mail data that says whose it is and how long."""
    return f"Subject: {message_id} {octets}\r\n\r\n".encode().ljust(octets, b"x")


def is_sound(message_id: str, content: bytes) -> bool:
    """Whether it is the whole mail data of this message."""
    said, octets = content.partition(b"\r\n")[0].split()[1:]
    return said.decode() == message_id and content == mail(message_id, int(octets))


def taken(index: int, attempt: int) -> Kind:
    """All is taken."""
    return Kind.DELIVERED


class Town:
    """`kinds` says of a recipient's index and an attempt what comes of it."""

    def __init__(self, teller: Teller, kinds: Kinds = taken) -> None:
        self.teller = teller
        self.kinds = kinds

    # The way in.

    def write(self, intake: Intake, recipients: int, octets: int) -> Draft | None:
        """A draft as a session makes it, or None where the spool does not take it."""
        draft = intake.begin(envelope(*(f"r{number}" for number in range(recipients))))
        content = mail(draft.id, octets)
        try:
            for first in range(0, octets, _PORTION):
                draft.write(content[first : first + _PORTION])
                if draft.must_spill:
                    draft.spill()
            if draft.is_large:
                draft.finish()
        except SpoolError:
            draft.discard()
            return None
        return draft

    def acknowledge(self, draft: Draft) -> None:
        """250."""
        self.teller.say("acknowledged", draft.id, *range(len(draft.envelope.recipients)))

    def commit(self, intake: Intake, drafts: Sequence[Draft]) -> list[str]:
        """Commit a group, and acknowledge what is safe; the names of those."""
        names = []
        for draft, result in zip(drafts, intake.commit(drafts), strict=True):
            if isinstance(result, str):
                self.acknowledge(draft)
                names.append(result)
        return names

    # The way out.

    def attempt(self, queue: Queue, job: Job, *, split: bool = False) -> bool:
        """One attempt at a job, at one destination or `split` by recipients; True when it was the end."""
        content = b"".join(queue.read(job))
        outcomes: tuple[Outcome, ...] = ()
        owed = list(job.owed)
        parts = [(index,) for index in job.open] if split and job.open else [job.open]
        for number, part in enumerate(parts, start=1):
            outcomes = tuple(self._try(job, index, content) for index in part)
            owed += [each for each in outcomes if each.kind.is_owed]
            if number < len(parts):
                _insist(partial(queue.record, job, outcomes))
                self._learn(job, outcomes, has_journal=True)
        following = START + timedelta(days=job.attempt)
        settlement = Settlement(job, outcomes, following, _notices(job, owed))
        has_ended = _insist(partial(queue.settle, settlement))
        has_journal = not has_ended or job.attempt > 1 or len(parts) > 1 or bool(owed)
        self._learn(job, (*job.owed, *outcomes), has_journal=has_journal)
        return has_ended

    def round(self, queue: Queue, *, split: bool = False, limit: int = 10) -> int:
        """Attempt what is due; how many there were."""
        queue.scan("new")
        queue.scan("cur")
        jobs = queue.take(limit, time.time())
        # Notifications before what they are about, where a crash has left both.
        for job in sorted(jobs, key=lambda job: job.envelope.reverse_path is not None):
            try:
                self.attempt(queue, job, split=split)
            except SpoolError:
                # The claim stays with this process until it ends.
                continue
        return len(jobs)

    def drain(self, queue: Queue) -> None:
        """Recover, and deliver until nothing is left."""
        queue.recover()
        while self.round(queue, limit=100):
            pass
        queue.tidy()

    def _try(self, job: Job, index: int, content: bytes) -> Outcome:
        kind = Kind.DELIVERED
        if content.startswith(_ABOUT):
            self.teller.say("told", job.id, *content.decode().split()[1:])
        elif not is_sound(job.id, content):
            self.teller.say("bug", job.id, "the mail data is another")
        else:
            kind = self.kinds(index, job.attempt)
        if kind.is_delivery:
            self.teller.say("taken", job.id, index)
        if kind is Kind.RELAYED:
            self.teller.say("relayed", job.id, index)
        if kind.is_failure:
            self.teller.say("refused", job.id, index)
        return outcome(kind, index, attempt=job.attempt)

    def _learn(self, job: Job, outcomes: Iterable[Outcome], *, has_journal: bool) -> None:
        final = sorted({index for each in outcomes if each.kind.is_final for index in each.recipients})
        if final:
            self.teller.say("settled", job.id, *final)
        if has_journal:
            self.teller.say("durable", job.id, *final)


def _notices(job: Job, owed: Sequence[Outcome]) -> tuple[Notice, ...]:
    """One notification for each attempt that owes one; it says of whom it is."""
    notices = []
    for attempt in sorted({each.attempt for each in owed}):
        indexes = sorted({i for each in owed if each.attempt == attempt for i in each.recipients})
        text = f"about {job.id} {' '.join(map(str, indexes))}\r\n"
        notices.append(Notice(attempt, envelope("originator", reverse_path=None), text.encode()))
    return tuple(notices)


def _insist(call: Callable[[], T]) -> T:
    for _ in range(_PATIENCE):
        try:
            return call()
        except SpoolError:
            continue
    return call()
