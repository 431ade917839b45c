"""Telling: what the log and the counters are told of outcomes and notifications. Refuses to decide anything."""

from collections.abc import Callable

from relayd.base import events
from relayd.base.counters import Slot
from relayd.deliver.notices import Composed
from relayd.deliver.parcel import Via, addresses
from relayd.spool.ids import derived
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome

Write = Callable[[events.Event], None]

_COUNTERS = {
    Kind.DELIVERED: "delivered",
    Kind.DEFERRED: "deferred",
    Kind.FAILED: "failed",
    Kind.EXPIRED: "failed",
    Kind.IN_DOUBT: "in_doubt",
}

_EVENTS: dict[Kind, type[events.DeliveryDeferred | events.DeliveryFailed | events.DeliveryInDoubt]] = {
    Kind.DEFERRED: events.DeliveryDeferred,
    Kind.FAILED: events.DeliveryFailed,
    Kind.EXPIRED: events.DeliveryFailed,
    Kind.IN_DOUBT: events.DeliveryInDoubt,
}


def tell(job: Job, outcome: Outcome, via: Via, write: Write, counters: Slot) -> None:
    """One outcome of an attempt."""
    counters.add(_COUNTERS[outcome.kind], len(outcome.recipients))
    recipients = addresses(job.envelope, outcome.recipients)
    greeting_ms = None if outcome.greeting_s is None else outcome.greeting_s * 1000
    if outcome.kind is Kind.DELIVERED:
        write(
            events.DeliveryDelivered(
                id=job.id,
                recipients=recipients,
                attempt=outcome.attempt,
                reply=str(outcome.reply),
                exchanger=outcome.exchanger,
                address=outcome.address,
                greeting_ms=greeting_ms,
                chosen=via.chosen,
                age_s=(outcome.at - job.envelope.arrived).total_seconds(),
            )
        )
        return
    write(
        _EVENTS[outcome.kind](
            id=job.id,
            recipients=recipients,
            attempt=outcome.attempt,
            reply=str(outcome.reply),
            exchanger=outcome.exchanger,
            address=outcome.address,
            greeting_ms=greeting_ms,
            chosen=via.chosen,
        )
    )


def tell_notices(job: Job, composed: Composed, write: Write, counters: Slot) -> None:
    """What was queued to tell of failures, and what nobody is told of."""
    for notice in composed.notices:
        counters.add("notifications")
        told = addresses(notice.envelope, (0,))
        write(events.DsnQueued(id=derived(job.id, notice.attempt), about=job.id, recipient=told))
    for failure in composed.untold:
        counters.add("undeliverable", len(failure.recipients))
        recipients = addresses(job.envelope, failure.recipients)
        write(events.DsnOmitted(about=job.id, recipients=recipients, reply=str(failure.reply)))
