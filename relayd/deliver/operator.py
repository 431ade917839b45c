"""The operator: what a person's order does to a message, through the one process that has the queue.

For the spool's thread. An order never touches an attempt in flight: the answer is then BUSY, and the order comes
again. Refuses to know how orders come here. Never raises: what goes wrong is the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from relayd.base.channel import Operate
from relayd.deliver.digest import Digests, Verdict
from relayd.deliver.notices import Composed, Notices
from relayd.deliver.parcel import Via
from relayd.deliver.telling import Telling
from relayd.smtp.reply import reply
from relayd.spool.errors import NoSuchMessage
from relayd.spool.ids import derived
from relayd.spool.job import Job, Settlement
from relayd.spool.outcome import Kind, Outcome
from relayd.spool.protocol import Delivering

DONE = "done"
BUSY = "an attempt is under way"
GONE = "no such message"

_GIVEN_UP = reply(550, "5.0.0", "given up by the operator of the relay")


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """A message, what the order has come to for it, and all that its originator is owed word of."""

    job: Job
    outcomes: tuple[Outcome, ...]
    failures: tuple[Outcome, ...]


class Operator:
    """Carries out orders; `telling` hears of what came of them on the spool's thread.

    `digests` says how many notifications an originator gets an hour; beyond that, each order makes one summary.
    """

    def __init__(self, spool: Delivering, notices: Notices, telling: Telling, digests: Digests) -> None:
        self._spool = spool
        self._notices = notices
        self._telling = telling
        self._digests = digests

    def carry_out(self, order: Operate) -> tuple[str, ...]:
        """One answer for each ID."""
        together: dict[str, list[_GivenUp]] = {}
        answers = {message_id: self._one(order, message_id, together) for message_id in order.ids}
        for originator, each in together.items():
            answers |= self._tell_together(each, originator)
        return tuple(answers[message_id] for message_id in order.ids)

    def _one(self, order: Operate, message_id: str, together: dict[str, list[_GivenUp]]) -> str:
        try:
            job = self._spool.claim(message_id)
        except NoSuchMessage:
            return GONE
        except Exception as error:
            # The others of the order have their answers all the same.
            return _in_words(error)
        if job is None:
            return BUSY
        if order.verb == "remove" and not order.notify:
            return self._try(job, lambda: self._remove(job))
        chosen = job.open if order.recipient is None else _named(job, order.recipient)
        if order.recipient is not None and not chosen:
            self._spool.put_back(job)
            return f"<{order.recipient}> is no open recipient"
        # Where none is open, a notification is owed still, and is all that is left to do.
        outcomes = _given_up(job, chosen) if chosen else ()
        given_up = _GivenUp(job, outcomes, (*job.owed, *outcomes))
        originator = self._notices.originator(job.envelope, given_up.failures)
        if originator is not None and self._is_beyond(originator):
            together.setdefault(originator, []).append(given_up)
            return DONE
        return self._try(job, lambda: self._settle(given_up, self._notices.compose(job, given_up.failures)))

    def _try(self, job: Job, do: Callable[[], None]) -> str:
        try:
            do()
        except Exception as error:
            # It must not stay claimed by nobody; what was written down of it counts at the next attempt.
            self._spool.put_back(job)
            return _in_words(error)
        return DONE

    def _remove(self, job: Job) -> None:
        """Nobody is told of what is removed, but of what failed before, everybody who is owed it."""
        composed = self._notices.compose(job, job.owed)
        self._spool.remove(job, composed.notices)
        self._telling.removed(job, "removed by the operator")
        self._telling.notices(job, composed)

    def _settle(self, given_up: _GivenUp, composed: Composed, told_by: str = "") -> None:
        # Whoever is still open is due now: the order says nothing about them.
        self._spool.settle(
            Settlement(given_up.job, given_up.outcomes, datetime.now(UTC), composed.notices, told_by=told_by)
        )
        for outcome in given_up.outcomes:
            self._telling.outcome(given_up.job, outcome, Via())
        self._telling.notices(given_up.job, composed)

    # More than an originator is told one by one.

    def _is_beyond(self, originator: str) -> bool:
        return self._digests.judge(originator, datetime.now(UTC))[0] is not Verdict.TELL

    def _tell_together(self, all_of_them: Sequence[_GivenUp], originator: str) -> dict[str, str]:
        """One notification, queued as the first one's; without it, nothing comes of the order for any of them."""
        first, *others = all_of_them
        try:
            notice = self._notices.summarise([(each.job, each.failures) for each in all_of_them], originator)
        except Exception as error:
            for each in all_of_them:
                self._spool.put_back(each.job)
            return dict.fromkeys((each.job.id for each in all_of_them), _in_words(error))
        told_by = derived(first.job.id, notice.attempt)
        answers = {first.job.id: self._try(first.job, lambda: self._settle(first, Composed((notice,)), told_by))}
        for each in others:
            if answers[first.job.id] == DONE:
                answers[each.job.id] = self._try(each.job, partial(self._settle, each, Composed(), told_by))
                self._telling.told_by(each.job, told_by, notice)
            else:
                self._spool.put_back(each.job)
                answers[each.job.id] = answers[first.job.id]
        self._digests.summarised(originator, datetime.now(UTC))
        return answers


def _named(job: Job, recipient: str) -> tuple[int, ...]:
    """The open recipients of this address, in any case of letters."""
    wanted = recipient.lower()
    return tuple(index for index in job.open if job.envelope.recipients[index].address.lower() == wanted)


def _given_up(job: Job, chosen: tuple[int, ...]) -> tuple[Outcome, ...]:
    now = datetime.now(UTC)
    return (Outcome(at=now, recipients=chosen, kind=Kind.FAILED, reply=_GIVEN_UP, attempt=job.attempt),)


def _in_words(error: Exception) -> str:
    return str(error) or type(error).__name__
