"""A parcel: the recipients of one message that share a destination, and what an attempt came to for them. Pure.

Grouping recipients makes one copy go to all of them (RFC 5321 section 3.6); the mapping from a transaction's
result to outcomes is here too, so that it can be read and tested alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from relayd.smtp.client import Order, Result
from relayd.smtp.reply import Reply, reply
from relayd.spool.dialogue import Dialogue
from relayd.spool.envelope import Envelope
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome

# Section 4.5.3.1.8: every server takes this many.
MOST_RECIPIENTS = 100


_UNANSWERED = reply(451, "4.4.2", "the message goes out; no answer to the final dot yet")


@dataclass(frozen=True, slots=True)
class Parcel:
    """`recipients` are indexes into the job's envelope."""

    job: Job
    destination: str
    recipients: tuple[int, ...]

    @property
    def order(self) -> Order:
        """The transaction that carries it."""
        envelope = self.job.envelope
        return Order(
            reverse_path=envelope.reverse_path or "",
            forward_paths=tuple(envelope.recipients[index].address for index in self.recipients),
            size=self.job.size,
            body=envelope.body,
        )


@dataclass(frozen=True, slots=True)
class Via:
    """Which exchanger an outcome is of, and why that one; empty when there was none."""

    exchanger: str = ""
    address: str = ""
    greeting_s: float | None = None
    chosen: str = ""


def parcels(job: Job, destination_of: Callable[[str], str]) -> list[Parcel]:
    """The job's open recipients by destination, in portions that every server takes."""
    groups: dict[str, list[int]] = {}
    for index in job.open:
        groups.setdefault(destination_of(job.envelope.recipients[index].domain), []).append(index)
    return [
        Parcel(job, destination, tuple(group[first : first + MOST_RECIPIENTS]))
        for destination, group in groups.items()
        for first in range(0, len(group), MOST_RECIPIENTS)
    ]


def outcomes_of(parcel: Parcel, result: Result, via: Via, now: datetime) -> tuple[Outcome, ...]:
    """What a transaction came to: one outcome for all recipients that got the same."""
    groups: dict[tuple[Kind, Reply], list[int]] = {}
    for place, answer in enumerate(result.replies):
        kind = Kind.IN_DOUBT if place in result.in_doubt else kind_of(answer)
        groups.setdefault((kind, answer), []).append(parcel.recipients[place])
    return tuple(
        _outcome(parcel, recipients, kind, answer, via, now) for (kind, answer), recipients in groups.items()
    )


def refusal(parcel: Parcel, answer: Reply, via: Via, now: datetime) -> tuple[Outcome, ...]:
    """The same reply for all of the parcel: from DNS, from a connection that failed, from us."""
    return (_outcome(parcel, parcel.recipients, kind_of(answer), answer, via, now),)


def with_transcript(
    outcomes: tuple[Outcome, ...], dialogues: Callable[[], tuple[Dialogue, ...]]
) -> tuple[Outcome, ...]:
    """The same, with what was said, once: in the first that is no delivery. Deliveries do not ask for it."""
    for place, outcome in enumerate(outcomes):
        if outcome.kind is not Kind.DELIVERED:
            told = msgspec.structs.replace(outcome, transcript=dialogues())
            return (*outcomes[:place], told, *outcomes[place + 1 :])
    return outcomes


def in_doubt(parcel: Parcel, via: Via, now: datetime) -> Outcome:
    """What is true of the parcel from its final dot to the answer."""
    return _outcome(parcel, parcel.recipients, Kind.IN_DOUBT, _UNANSWERED, via, now)


def kind_of(answer: Reply) -> Kind:
    """2yz delivered, 5yz failed, anything else deferred (section 4.2.1)."""
    if answer.code // 100 == 2:
        return Kind.DELIVERED
    return Kind.FAILED if answer.is_permanent else Kind.DEFERRED


def expire(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The same, with what was deferred given up."""
    return tuple(
        outcome if outcome.kind.is_final else msgspec.structs.replace(outcome, kind=Kind.EXPIRED)
        for outcome in outcomes
    )


def addresses(envelope: Envelope, recipients: Sequence[int]) -> str:
    """Some recipients for a log line."""
    return ",".join(f"<{envelope.recipients[index].address}>" for index in recipients)


def _outcome(
    parcel: Parcel, recipients: Sequence[int], kind: Kind, answer: Reply, via: Via, now: datetime
) -> Outcome:
    return Outcome(
        at=now,
        recipients=tuple(recipients),
        kind=kind,
        reply=answer,
        attempt=parcel.job.attempt,
        exchanger=via.exchanger,
        address=via.address,
        greeting_s=None if via.greeting_s is None else round(via.greeting_s, 6),
    )
