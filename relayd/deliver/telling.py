"""Telling: what the log and the counters are told of outcomes and notifications. Refuses to decide anything."""

from collections.abc import Callable
from dataclasses import dataclass

from relayd.base import events
from relayd.deliver.notices import Composed
from relayd.deliver.parcel import Via, addresses
from relayd.spool.ids import derived
from relayd.spool.job import Job, Notice
from relayd.spool.outcome import Kind, Outcome

_COUNTERS = {
    Kind.DELIVERED: "delivered",
    Kind.RELAYED: "delivered",
    Kind.DEFERRED: "deferred",
    Kind.FAILED: "failed",
    Kind.EXPIRED: "failed",
    Kind.IN_DOUBT: "in_doubt",
}

_EVENTS: dict[Kind, Callable[..., events.Event]] = {
    Kind.DELIVERED: events.DeliveryDelivered,
    Kind.RELAYED: events.DeliveryDelivered,
    Kind.DEFERRED: events.DeliveryDeferred,
    Kind.FAILED: events.DeliveryFailed,
    Kind.EXPIRED: events.DeliveryFailed,
    Kind.IN_DOUBT: events.DeliveryInDoubt,
}


@dataclass(frozen=True, slots=True)
class Telling:
    """`write` takes events; `count` takes the name of a counter and by how much it grows."""

    write: Callable[[events.Event], None]
    count: Callable[[str, int], None]

    def outcome(self, job: Job, outcome: Outcome, via: Via) -> None:
        """One outcome of an attempt."""
        kind, envelope = outcome.kind, job.envelope
        self.count(_COUNTERS[kind], len(outcome.recipients))
        self.write(
            _EVENTS[kind](
                id=job.id,
                session=envelope.session,
                recipients=addresses(envelope, outcome.recipients),
                attempt=outcome.attempt,
                reply=str(outcome.reply),
                exchanger=outcome.exchanger,
                address=outcome.address,
                greeting_ms=None if outcome.greeting_s is None else outcome.greeting_s * 1000,
                chosen=via.chosen,
                tls=via.tls,
                age_s=(outcome.at - envelope.arrived).total_seconds() if kind.is_delivery else None,
            )
        )

    def removed(self, job: Job, reason: str) -> None:
        """A message that goes without being delivered to those who are open still."""
        self.count("removed", len(job.open))
        self.write(events.MessageRemoved(id=job.id, session=job.envelope.session, reason=reason))

    def told_by(self, job: Job, notice_id: str, notice: Notice) -> None:
        """The notification of this ID, which is in the spool, tells of what became of the job's message."""
        recipient = addresses(notice.envelope, (0,))
        session = job.envelope.session
        self.write(events.DsnQueued(id=notice_id, session=session, about=job.id, recipient=recipient))

    def notices(self, job: Job, composed: Composed) -> None:
        """What was queued to tell of failures, and what nobody is told of."""
        for notice in composed.notices:
            self.count("notifications", 1)
            self.told_by(job, derived(job.id, notice.attempt), notice)
        for failure in composed.untold:
            self.count("undeliverable", len(failure.recipients))
            recipients = addresses(job.envelope, failure.recipients)
            session, answer = job.envelope.session, str(failure.reply)
            self.write(events.DsnOmitted(id=job.id, session=session, recipients=recipients, reply=answer))
