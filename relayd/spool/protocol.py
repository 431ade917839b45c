"""The protocol: what a spool does for the two processes that meet in it, whatever engine is behind it.

`Receiving` is a worker's side, `Delivering` the delivery process's. The maildir engine (`intake`, `queue`) keeps
one file a message; another engine must pass the same contract tests. Calls are synchronous and may wait for a
disk, so they belong on a thread of their own; each side is for one thread at a time unless a call says otherwise.
What goes wrong is a SpoolError.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from relayd.spool.envelope import Envelope
from relayd.spool.errors import SpoolError
from relayd.spool.job import Job, Notice, Recovery, Settlement
from relayd.spool.outcome import Outcome


class Writing(Protocol):
    """A message on its way in. `id` is final from the start; `size` counts what the spool keeps, in octets."""

    @property
    def id(self) -> str: ...

    @property
    def envelope(self) -> Envelope: ...

    @property
    def size(self) -> int: ...

    @property
    def is_large(self) -> bool:
        """Whether `finish` must come before `commit`, in a thread of its own."""

    @property
    def must_spill(self) -> bool:
        """Whether so much waits in memory that `spill` must come before the next `write`."""

    def write(self, octets: bytes) -> None:
        """Add mail data; never waits."""

    def spill(self) -> None:
        """Move what waits in memory to the medium."""

    def finish(self) -> None:
        """Wait until all content is on the medium."""

    def discard(self) -> None:
        """Forget it and what was kept of it. Does nothing to a message that was committed; never fails."""


DraftT = TypeVar("DraftT", bound=Writing)


class Receiving(Protocol[DraftT]):
    """The way in."""

    def check_room(self, size: int = 0) -> None:
        """Raise SpoolFull when there is no room for a message of so many octets."""

    def begin(self, envelope: Envelope) -> DraftT:
        """A new draft with its ID."""

    def commit(self, drafts: Sequence[DraftT]) -> list[str | SpoolError]:
        """Make drafts durable and visible: for each its name, for `hear`, or why not, and then it is discarded."""


class Delivering(Protocol):
    """The way out, for the one process that delivers."""

    def recover(self) -> Recovery:
        """Begin: finish what a crash left half done. Comes once, before all else."""

    # Finding work.

    def hear(self, names: Iterable[str]) -> None:
        """Take note of messages that a worker says it has committed; haste only."""

    def scan(self, state: Literal["new", "cur"]) -> None:
        """Look for messages that no hint told of, and for those that people moved."""

    def take(self, limit: int, now: float) -> list[Job]:
        """Claim up to so many messages that are due at `now` (seconds since 1970)."""

    def claim(self, message_id: str) -> Job | None:
        """Claim one message for its operator, due or not, also one that is held.

        None while it is in flight or cannot be claimed now. Raises NoSuchMessage and OSError.
        """

    def next_due(self) -> float | None:
        """When something may be taken (seconds since 1970, 0.0 for now), or None."""

    @property
    def waiting(self) -> int:
        """Messages known, due or not, beside those claimed."""

    # An attempt. A job whose token is not the live one raises LeaseLost, and nothing changes.

    def cached(self, job: Job) -> bytes | None:
        """The mail data when it is in memory; never waits; from any thread."""

    def read(self, job: Job) -> Iterator[bytes]:
        """The mail data in portions; from any thread. Raises NoSuchMessage when it was taken away."""

    def reserve(self, job: Job) -> None:
        """Make sure, before the final dot, that what comes of it can be recorded; never waits; from any thread.

        Raises SpoolFull when it could not be, and somebody could get a second copy: then do not send it now.
        """

    def record(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Make outcomes durable while other recipients of the job are still being tried.

        When it fails, the outcomes are kept, and the next record or settle of the job writes them too; the same
        call again does not write them twice.
        """

    def settle(self, settlement: Settlement) -> bool:
        """End the attempt: outcomes, notices, then the end or the next date, in that order. True at the end.

        When it fails, the same call again goes on where it stopped.
        """

    def settle_all(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """The same for many attempts at once, which is cheaper: for each what `settle` gives or raises."""

    def remove(self, job: Job, notices: tuple[Notice, ...] = ()) -> None:
        """End a message that is not to be delivered; the ledger says that its open recipients were removed.

        `notices` tell of the failures that the job owes; where there are none, nobody is to be told of these.
        """

    def put_back(self, job: Job, due: datetime | None = None) -> None:
        """Give a claim up without an outcome: the message is due as before, or at `due`."""

    def close(self) -> None:
        """End, when nothing is in flight any more."""

    def tidy(self) -> None:
        """Once a second: make durable what needs no haste. Trouble is reported and met again the next time."""
