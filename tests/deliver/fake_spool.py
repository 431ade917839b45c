"""A spool in memory for tests: it notes what it is asked, and fails as often as a test says.

It keeps no state of its own beyond that: what the real one does with an outcome is its own tests' matter.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from relayd.spool.errors import NoSuchMessage
from relayd.spool.job import Job, Notice, Recovery, Settlement
from relayd.spool.outcome import Outcome
from tests.spool.memory_engine import one_by_one


@dataclass
class FakeSpool:
    """`trouble` are raised by the next calls of record, settle and put_back, one each; `mail` is by message ID."""

    mail: dict[str, Sequence[bytes | Exception]] = field(default_factory=dict)
    trouble: list[Exception] = field(default_factory=list)
    unreserved: Exception | None = None
    keeps_in_memory: bool = True
    recorded: list[tuple[Outcome, ...]] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)
    claims: dict[str, Job | Exception | None] = field(default_factory=dict)
    removed: list[tuple[Job, tuple[Notice, ...]]] = field(default_factory=list)
    returned: list[tuple[Job, datetime | None]] = field(default_factory=list)

    def recover(self) -> Recovery:
        """Nothing is found."""
        return Recovery(waiting=0, scheduled=0, held=0, swept=0, notices=0, orphans=0, set_aside=0)

    def hear(self, names: Iterable[str]) -> None:
        """Nothing comes of it."""

    def scan(self, state: Literal["new", "cur"]) -> None:
        """Nothing comes of it."""

    def take(self, limit: int, now: float) -> list[Job]:
        """Never anything."""
        return []

    def claim(self, message_id: str) -> Job | None:
        """What the test says: a job, nothing while it is in flight, or what it raises."""
        answer = self.claims.get(message_id, NoSuchMessage(message_id))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def remove(self, job: Job, notices: tuple[Notice, ...] = ()) -> None:
        """Note it."""
        self._fail()
        self.removed.append((job, notices))

    def close(self) -> None:
        """There is nothing to end."""

    def next_due(self) -> float | None:
        """Never."""
        return None

    @property
    def waiting(self) -> int:
        """None."""
        return 0

    def cached(self, job: Job) -> bytes | None:
        """All mail data, unless it is to be read or cannot be."""
        chunks = self.mail.get(job.id, (b"Subject: test\r\n\r\ntext\r\n",))
        if not self.keeps_in_memory or any(isinstance(each, Exception) for each in chunks):
            return None
        return b"".join(each for each in chunks if isinstance(each, bytes))

    def read(self, job: Job) -> Iterator[bytes]:
        """The mail data, up to what is to be raised."""
        for each in self.mail.get(job.id, (b"Subject: test\r\n\r\ntext\r\n",)):
            if isinstance(each, Exception):
                raise each
            yield each

    def reserve(self, job: Job) -> None:
        """Raises what the test says."""
        if self.unreserved is not None:
            raise self.unreserved

    def record(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Note them."""
        self._fail()
        self.recorded.append(tuple(outcomes))

    def settle(self, settlement: Settlement) -> bool:
        """Note it."""
        self._fail()
        self.settled.append(settlement)
        return True

    def settle_all(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """Note each."""
        return one_by_one(self.settle, settlements)

    def put_back(self, job: Job, due: datetime | None = None) -> None:
        """Note it."""
        self._fail()
        self.returned.append((job, due))

    def tidy(self) -> None:
        """There is nothing to tidy."""

    def _fail(self) -> None:
        if self.trouble:
            raise self.trouble.pop(0)
