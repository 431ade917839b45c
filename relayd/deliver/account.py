"""An account: what the parcels of one claimed message have come to, until its attempt can be settled.

Refuses to know the spool, and what follows.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from relayd.deliver.digest import Verdict
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome


class Account(msgspec.Struct, eq=False):
    """`parcels` are still under way; `is_busy` while the spool has a step, or is given time after a failure."""

    job: Job
    parcels: int
    was_tried: bool = False
    is_to_be_held: bool = False
    is_in_doubt: bool = False
    unrecorded: list[Outcome] = []
    untold: list[Outcome] = []
    waiting: list[Outcome] = []
    done: set[int] = msgspec.field(default_factory=set)
    # Until when the destination rests, and when the message comes again.
    due: datetime | None = None
    following: datetime | None = None
    # What becomes of word of its failures; in a summary, the other messages in it, or whose notification tells.
    verdict: Verdict | None = None
    others: Sequence["Account"] = ()
    originator: str = ""
    told_by: str = ""
    is_busy: bool = False
    is_lost: bool = False
    delay: float = 0.0

    @property
    def owed(self) -> tuple[Outcome, ...]:
        """What the originator is owed word of."""
        return (*self.job.owed, *self.untold) if self.untold else self.job.owed

    @property
    def owed_together(self) -> tuple[tuple[Job, tuple[Outcome, ...]], ...]:
        """The same by message, with what the others in its summary owe."""
        return tuple([(each.job, owed) for each in (self, *self.others) if (owed := each.owed)])

    @property
    def is_put_off(self) -> bool:
        """Whether the spool is not about to be told anything of it."""
        return self.is_lost or self.delay > 0

    @property
    def is_open(self) -> bool:
        """Whether anybody is to be tried again."""
        return not self.done.issuperset(self.job.open)

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """One parcel has come to an end, with these; with none, it was not tried."""
        self.parcels -= 1
        self.was_tried |= bool(outcomes)
        self.unrecorded += outcomes
        for outcome in outcomes:
            kind = outcome.kind
            if kind.is_final:
                self.done.update(outcome.recipients)
            else:
                self.waiting.append(outcome)
                self.is_in_doubt |= kind is Kind.IN_DOUBT
            if kind.is_owed:
                self.untold.append(outcome)

    def note_rest(self, until: datetime) -> None:
        """One parcel was not tried, since its destination rests until then."""
        self.parcels -= 1
        self.due = until if self.due is None else min(self.due, until)
