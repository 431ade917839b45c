"""The operator: what a person's order does to a message, through the one process that has the queue.

For the spool's thread. An order never touches an attempt in flight: the answer is then BUSY, and the order comes
again. Refuses to know how orders come here. Never raises: what goes wrong is the answer.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from relayd.base import events
from relayd.base.channel import Operate
from relayd.deliver.notices import Notices
from relayd.deliver.parcel import addresses
from relayd.smtp.reply import reply
from relayd.spool.errors import NoSuchMessage, SpoolError
from relayd.spool.ids import derived
from relayd.spool.job import Job, Settlement
from relayd.spool.outcome import Kind, Outcome
from relayd.spool.protocol import Delivering

DONE = "done"
BUSY = "an attempt is under way"
GONE = "no such message"

_GIVEN_UP = reply(550, "5.0.0", "given up by the operator of the relay")


class Operator:
    """Carries out orders; `write` takes events on the spool's thread."""

    def __init__(self, spool: Delivering, notices: Notices, write: Callable[[events.Event], None]) -> None:
        self._spool = spool
        self._notices = notices
        self._write = write

    def carry_out(self, order: Operate) -> tuple[str, ...]:
        """One answer for each ID."""
        return tuple(self._one(order, message_id) for message_id in order.ids)

    def _one(self, order: Operate, message_id: str) -> str:
        try:
            job = self._spool.claim(message_id)
        except NoSuchMessage:
            return GONE
        except (SpoolError, OSError) as error:
            return str(error)
        if job is None:
            return BUSY
        try:
            if order.verb == "remove" and not order.notify:
                self._spool.remove(job)
                self._write(events.MessageRemoved(id=job.id, reason="removed by the operator"))
                return DONE
            return self._fail(job, order.recipient)
        except Exception as error:
            # It must not stay claimed by nobody; what was written down of it counts at the next attempt.
            self._spool.put_back(job)
            return f"{error or type(error).__name__}"

    def _fail(self, job: Job, recipient: str | None) -> str:
        chosen = tuple(
            index
            for index in job.open
            if recipient is None or job.envelope.recipients[index].address.lower() == recipient.lower()
        )
        if not chosen:
            self._spool.put_back(job)
            return f"<{recipient}> is no open recipient"
        now = datetime.now(UTC)
        outcome = Outcome(at=now, recipients=chosen, kind=Kind.FAILED, reply=_GIVEN_UP, attempt=job.attempt)
        composed = self._notices.compose(job, (*job.owed, outcome))
        # Whoever is still open is due now: the order says nothing about them.
        self._spool.settle(Settlement(job, (outcome,), now, composed.notices))
        self._write(
            events.DeliveryFailed(
                id=job.id,
                recipients=addresses(job.envelope, chosen),
                attempt=job.attempt,
                reply=str(_GIVEN_UP),
            )
        )
        for notice in composed.notices:
            self._write(
                events.DsnQueued(
                    id=derived(job.id, notice.attempt),
                    about=job.id,
                    recipient=f"<{notice.envelope.recipients[0].address}>",
                )
            )
        return DONE
