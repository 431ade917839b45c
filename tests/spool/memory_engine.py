"""A second engine: a spool in memory, which shows that the protocol asks for nothing that only files can do.

It is as durable as the object that holds it: a restart is a new `MemoryQueue` on the same `Store`.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from relayd.spool.envelope import Envelope
from relayd.spool.errors import LeaseLost, NoSuchMessage, SpoolError, SpoolFull
from relayd.spool.ids import Ids, derived
from relayd.spool.job import Job, Notice, Recovery, Settlement
from relayd.spool.outcome import Entry, Notified, Outcome, fold


@dataclass
class Kept:
    """A message as it is kept."""

    envelope: Envelope
    mail_data: bytes
    due: float = 0.0
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Store:
    """What outlives a process."""

    messages: dict[str, Kept] = field(default_factory=dict)
    capacity: int = 10**9


class MemoryDraft:
    """A message on its way in."""

    is_large = False
    must_spill = False

    def __init__(self, message_id: str, envelope: Envelope) -> None:
        self.id = message_id
        self.envelope = envelope
        self.mail_data = b""

    @property
    def size(self) -> int:
        return len(self.mail_data)

    def write(self, octets: bytes) -> None:
        self.mail_data += octets

    def spill(self) -> None:
        return

    def finish(self) -> None:
        return

    def discard(self) -> None:
        self.mail_data = b""


class MemoryIntake:
    """The way in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ids = Ids()

    def check_room(self, size: int = 0) -> None:
        if size > self._store.capacity:
            raise SpoolFull(f"{self._store.capacity} octets are free")

    def begin(self, envelope: Envelope) -> MemoryDraft:
        return MemoryDraft(self._ids.next(), envelope)

    def commit(self, drafts: Sequence[MemoryDraft]) -> list[str | SpoolError]:
        for draft in drafts:
            self._store.messages[draft.id] = Kept(draft.envelope, draft.mail_data)
        return [draft.id for draft in drafts]


class MemoryQueue:
    """The way out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claims: dict[str, int] = {}
        self._token = 0

    def recover(self) -> Recovery:
        return Recovery(len(self._store.messages), 0, 0, 0, 0, 0, 0)

    def hear(self, names: Iterable[str]) -> None:
        return

    def scan(self, state: Literal["new", "cur"]) -> None:
        return

    def take(self, limit: int, now: float) -> list[Job]:
        due = [(kept.due, key) for key, kept in self._free() if kept.due <= now]
        return [self._claim(key) for _, key in heapq.nsmallest(limit, due)]

    def claim(self, message_id: str) -> Job | None:
        if message_id not in self._store.messages:
            raise NoSuchMessage(message_id)
        return None if message_id in self._claims else self._claim(message_id)

    def next_due(self) -> float | None:
        return min((kept.due for _, kept in self._free()), default=None)

    @property
    def waiting(self) -> int:
        return len(list(self._free()))

    def cached(self, job: Job) -> bytes | None:
        kept = self._store.messages.get(job.id)
        return None if kept is None or self._claims.get(job.id) != job.token else kept.mail_data

    def read(self, job: Job) -> Iterator[bytes]:
        self._live(job)
        if job.id not in self._store.messages:
            raise NoSuchMessage(job.id)
        yield self._store.messages[job.id].mail_data

    def reserve(self, job: Job) -> None:
        return

    def record(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        kept = self._live(job)
        kept.entries += [each for each in outcomes if each not in kept.entries]

    def settle_all(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        return one_by_one(self.settle, settlements)

    def settle(self, settlement: Settlement) -> bool:
        job = settlement.job
        self.record(job, settlement.outcomes)
        kept = self._store.messages[job.id]
        state = fold(len(kept.envelope.recipients), kept.entries)
        for notice in settlement.notices:
            self._store.messages[derived(job.id, notice.attempt)] = Kept(notice.envelope, notice.mail_data)
        kept.entries += [Notified(at=each.at, attempt=each.attempt) for each in state.owed]
        del self._claims[job.id]
        kept.due = settlement.next.timestamp()
        if not state.open:
            del self._store.messages[job.id]
        return not state.open

    def remove(self, job: Job, notices: tuple[Notice, ...] = ()) -> None:
        self._live(job)
        for notice in notices:
            self._store.messages[derived(job.id, notice.attempt)] = Kept(notice.envelope, notice.mail_data)
        del self._claims[job.id]
        del self._store.messages[job.id]

    def put_back(self, job: Job, due: datetime | None = None) -> None:
        kept = self._live(job)
        kept.due = kept.due if due is None else due.timestamp()
        del self._claims[job.id]

    def close(self) -> None:
        return

    def tidy(self) -> None:
        return

    def _free(self) -> Iterator[tuple[str, Kept]]:
        return ((key, kept) for key, kept in self._store.messages.items() if key not in self._claims)

    def _claim(self, key: str) -> Job:
        self._token += 1
        self._claims[key] = self._token
        kept = self._store.messages[key]
        state = fold(len(kept.envelope.recipients), kept.entries)
        size = len(kept.mail_data)
        return Job(key, self._token, kept.envelope, state.open, state.attempts + 1, size, state.owed)

    def _live(self, job: Job) -> Kept:
        if self._claims.get(job.id) != job.token:
            raise LeaseLost(job.id)
        return self._store.messages[job.id]


def one_by_one(settle: Callable[[Settlement], bool], settlements: Sequence[Settlement]) -> list[bool | Exception]:
    """What `settle_all` gives for a spool that has nothing to gain from many at once."""
    results: list[bool | Exception] = []
    for each in settlements:
        try:
            results.append(settle(each))
        except Exception as error:
            results.append(error)
    return results
