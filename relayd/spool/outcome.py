"""An outcome: what one attempt came to for some of a message's recipients, and the fold of all of them.

Outcomes are the lines of a message's journal. A recipient is open until an outcome that is final names it,
whatever comes after; this module computes that and touches no file.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from relayd.smtp.reply import Reply
from relayd.spool.dialogue import Dialogue
from relayd.spool.errors import NotSound


class Kind(StrEnum):
    """What an outcome means for its recipients."""

    DELIVERED = "delivered"
    # The exchanger has it and will not tell of it, though the originator asked for that (RFC 3461 section 5.2.2).
    RELAYED = "relayed"
    DEFERRED = "deferred"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    EXPIRED = "expired"

    # An Enum's own is a function in Python that hashes the name, and each message looks kinds up.
    __hash__ = str.__hash__

    @property
    def is_final(self) -> bool:
        """Whether the recipient is done with: it has the mail, or will never get it."""
        return self in _FINAL

    @property
    def is_delivery(self) -> bool:
        """Whether the exchanger has taken the mail for the recipient."""
        return self in _DELIVERIES

    @property
    def is_failure(self) -> bool:
        """Whether the recipient will never get the mail."""
        return self in _FAILURES

    @property
    def is_owed(self) -> bool:
        """Whether the originator is owed a notification (section 6.1, and RFC 3461 where it asked for one)."""
        return self in _OWED


_DELIVERIES = frozenset({Kind.DELIVERED, Kind.RELAYED})
_FAILURES = frozenset({Kind.FAILED, Kind.EXPIRED})
_OWED = _FAILURES | {Kind.RELAYED}
_FINAL = _DELIVERIES | _FAILURES

# A journal that somebody has edited must not bring a naive instant or an attempt before the first into arithmetic.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Index = Annotated[int, msgspec.Meta(ge=0)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`recipients` are indexes into the envelope. `exchanger` and `address` say whose reply it is.

    `at` is UTC; `greeting_s` is the time from connect() to the greeting in seconds, None without a connection.
    `transcript` is what was said in the attempt to the exchangers of these recipients, in order; where an attempt
    has several outcomes at once, one of them has it, and none where all went well.
    """

    at: Instant
    recipients: tuple[Index, ...]
    kind: Kind
    reply: Reply
    attempt: Attempt
    exchanger: str = ""
    address: str = ""
    greeting_s: float | None = None
    transcript: tuple[Dialogue, ...] = ()


def has_delivery(outcomes: Iterable[Outcome]) -> bool:
    """Whether an exchanger has taken the mail for any of these recipients."""
    return not _DELIVERIES.isdisjoint([outcome.kind for outcome in outcomes])


def are_final(outcomes: Iterable[Outcome]) -> bool:
    """Whether all of these recipients are done with."""
    return _FINAL.issuperset([outcome.kind for outcome in outcomes])


# What stands for the attempt in the one notification that a message is late.
DELAY = 0


class Notified(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="notified"):
    """What `attempt` owes is told: its notification is in the spool under `message`, or none is owed.

    With DELAY for the attempt it is the delay that was told.
    """

    at: Instant
    attempt: Annotated[int, msgspec.Meta(ge=DELAY, le=10**9)]
    message: str = ""


class Scheduled(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="scheduled"):
    """When the next attempt is meant to be; for people, since the file's mtime is the schedule."""

    at: Instant
    attempt: Attempt
    next: Instant


Entry = Outcome | Notified | Scheduled


class State(msgspec.Struct, frozen=True):
    """What a journal says of a message: who is still open, what was last said, what the originator is owed.

    It is warned when its sender was told of the delay, and cut when an attempt began the final dot for some who
    are open, and neither what came of it nor its end was written down: the process was killed.
    """

    open: tuple[int, ...]
    attempts: int
    last: dict[int, Outcome]
    owed: tuple[Outcome, ...]
    next: datetime | None
    is_cut: bool
    is_warned: bool


def check_recipients(outcome: Outcome, recipients: int) -> None:
    """Raise NotSound for an outcome of a recipient that the envelope does not have."""
    if outcome.recipients and max(outcome.recipients) >= recipients:
        raise NotSound(f"its journal knows recipient {max(outcome.recipients)}, its envelope {recipients}")


def fold(recipients: int, entries: Sequence[Entry]) -> State:
    """The state of a message of so many recipients after these entries, oldest first; raises NotSound."""
    if not entries:
        # As a rule: a message that nobody has tried yet.
        return State(tuple(range(recipients)), 0, {}, (), None, is_cut=False, is_warned=False)
    last: dict[int, Outcome] = {}
    done: set[int] = set()
    owing: list[Outcome] = []
    told: set[int] = set()
    attempts = 0
    following: datetime | None = None
    cut: set[int] = set()
    for entry in entries:
        if isinstance(entry, Outcome):
            check_recipients(entry, recipients)
            attempts = max(attempts, entry.attempt)
            last.update(dict.fromkeys(entry.recipients, entry))
            if entry.kind is Kind.IN_DOUBT:
                cut.update(entry.recipients)
            else:
                cut.difference_update(entry.recipients)
            if entry.kind.is_final:
                done.update(entry.recipients)
            if entry.kind.is_owed:
                owing.append(entry)
        elif isinstance(entry, Notified):
            told.add(entry.attempt)
        else:
            following = entry.next
            cut.clear()
    still_open = tuple(index for index in range(recipients) if index not in done)
    owed = tuple(each for each in owing if each.attempt not in told)
    is_cut = not cut.isdisjoint(still_open)
    return State(still_open, attempts, last, owed, following, is_cut, DELAY in told)
