"""A parcel: the recipients of one message that share a destination, and what an attempt came to for them. Pure.

Grouping recipients makes one copy go to all of them (RFC 5321 section 3.6); the mapping from a transaction's
result to outcomes is here too, so that it can be read and tested alone.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from relayd.deliver.wishes import is_wanted
from relayd.smtp.client import Order, Result, Wish
from relayd.smtp.reply import Reply, reply
from relayd.spool.dialogue import Dialogue
from relayd.spool.envelope import Envelope
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome

# Section 4.5.3.1.8: every server takes this many.
MOST_RECIPIENTS = 100


_UNANSWERED = reply(451, "4.4.2", "the message goes out; no answer to the final dot yet")


class Parcel(msgspec.Struct, frozen=True):
    """`recipients` are indexes into the job's envelope."""

    job: Job
    destination: str
    recipients: tuple[int, ...]

    @property
    def order(self) -> Order:
        """The transaction that carries it; raises NotAnOrder."""
        envelope = self.job.envelope
        recipients = [envelope.recipients[index] for index in self.recipients]
        reverse_path, forward_paths = envelope.reverse_path or "", tuple([each.address for each in recipients])
        asking = [each for each in recipients if each.notify is not None or each.orcpt is not None]
        return Order(
            reverse_path=reverse_path,
            forward_paths=forward_paths,
            size=self.job.size,
            body=envelope.body,
            # Addresses beyond ASCII go in no other way, whatever an envelope says that somebody has edited.
            smtputf8=envelope.smtputf8 or not (reverse_path.isascii() and "".join(forward_paths).isascii()),
            ret=envelope.ret,
            envid=envelope.envid,
            wishes=tuple(Wish(each.notify, each.orcpt) for each in recipients) if asking else (),
        )


class Via(msgspec.Struct, frozen=True):
    """Which exchanger an outcome is of, and why that one; empty when there was none.

    `greeting_s` is in whole microseconds. `tls` has the version and the cipher, where it was spoken to in TLS.
    """

    exchanger: str = ""
    address: str = ""
    greeting_s: float | None = None
    chosen: str = ""
    tls: str = ""


def parcels(job: Job, tried: tuple[int, ...], destination_of: Callable[[str], str]) -> list[Parcel]:
    """Those of the job's recipients that are tried, by destination, in portions that every server takes.

    Those beyond ASCII go apart: an exchanger without SMTPUTF8 may have the mail for the others.
    """
    if len(tried) == 1:
        # As a rule there is one, and nothing to group.
        return [Parcel(job, destination_of(job.envelope.recipients[tried[0]].domain), tried)]
    groups: dict[tuple[str, bool], list[int]] = {}
    for index in tried:
        recipient = job.envelope.recipients[index]
        groups.setdefault((destination_of(recipient.domain), recipient.address.isascii()), []).append(index)
    return [
        Parcel(job, destination, tuple(group[first : first + MOST_RECIPIENTS]))
        for (destination, _), group in groups.items()
        for first in range(0, len(group), MOST_RECIPIENTS)
    ]


def rest_of(parcel: Parcel, result: Result) -> Parcel | None:
    """The recipients that were too many for one transaction (RFC 5321 section 4.5.3.1.10), as a parcel."""
    if not result.deferred_rest:
        return None
    rest = tuple(parcel.recipients[place] for place in result.deferred_rest)
    return msgspec.structs.replace(parcel, recipients=rest)


def outcomes_of(
    parcel: Parcel, result: Result, via: Via, now: datetime, *, reports: bool = True, is_divided: bool = False
) -> tuple[Outcome, ...]:
    """What a transaction came to: one outcome for all recipients that got the same.

    `is_divided` is whether its rest (see `rest_of`) goes in another one, and has no outcome yet.

    `reports` is whether the exchanger has DSN. One that has not tells nobody that the mail came to its end: who
    asked to be told that is told by us that it went there (RFC 3461 section 5.2.2).
    """
    rest = result.deferred_rest if is_divided else ()
    if len(result.replies) == 1 and not rest:
        # As a rule there is one, and nothing to group.
        kind = _kind(parcel, result, 0, reports=reports)
        return (_outcome(parcel, parcel.recipients, kind, result.replies[0], via, now),)
    groups: dict[tuple[Kind, Reply], list[int]] = {}
    for place, answer in enumerate(result.replies):
        if place not in rest:
            kind = _kind(parcel, result, place, reports=reports)
            groups.setdefault((kind, answer), []).append(parcel.recipients[place])
    return tuple(
        _outcome(parcel, tuple(recipients), kind, answer, via, now)
        for (kind, answer), recipients in groups.items()
    )


def refusal(parcel: Parcel, answer: Reply, via: Via, now: datetime) -> tuple[Outcome, ...]:
    """The same reply for all of the parcel: from DNS, from a connection that failed, from us."""
    return (_outcome(parcel, parcel.recipients, kind_of(answer), answer, via, now),)


def with_transcript(
    outcomes: tuple[Outcome, ...], dialogues: Callable[[], tuple[Dialogue, ...]]
) -> tuple[Outcome, ...]:
    """The same, with what was said, once: in the first that is no delivery. Deliveries do not ask for it."""
    for place, outcome in enumerate(outcomes):
        if not outcome.kind.is_delivery:
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
    return ",".join([f"<{envelope.recipients[index].address}>" for index in recipients])


def _kind(parcel: Parcel, result: Result, place: int, *, reports: bool) -> Kind:
    """That of what a transaction came to for one of its recipients, by the place among them."""
    if place in result.in_doubt:
        return Kind.IN_DOUBT
    kind = kind_of(result.replies[place])
    if not reports and kind.is_delivery and is_wanted(parcel.job.envelope, parcel.recipients[place], kind):
        return Kind.RELAYED
    return kind


def _outcome(
    parcel: Parcel, recipients: tuple[int, ...], kind: Kind, answer: Reply, via: Via, now: datetime
) -> Outcome:
    return Outcome(
        at=now,
        recipients=recipients,
        kind=kind,
        reply=answer,
        attempt=parcel.job.attempt,
        exchanger=via.exchanger,
        address=via.address,
        greeting_s=via.greeting_s,
    )
