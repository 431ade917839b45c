"""Notices: who is told of what became of a message, and the notifications that do it (RFC 5321 section 6.1).

Who asked for something else is told what was asked for (RFC 3461 section 4.1).

For the spool's thread, since it reads the message. Refuses to know how a notification is queued. One that
cannot be made as it should be is made without the original, and the error goes along to be told.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from relayd.base.sections import Config
from relayd.deliver import notification, summary
from relayd.deliver.notification import Facts, addressed_to
from relayd.deliver.original import HEADER_OCTETS, WHOLE_OCTETS, Original
from relayd.deliver.summary import Told
from relayd.deliver.wishes import wanted
from relayd.spool.envelope import Envelope
from relayd.spool.errors import SpoolError
from relayd.spool.job import Job, Notice
from relayd.spool.outcome import DELAY, Outcome
from relayd.spool.protocol import Delivering


class Composed(msgspec.Struct, frozen=True):
    """The notices, the outcomes that nobody is told of, and what went wrong on the way."""

    notices: tuple[Notice, ...] = ()
    untold: tuple[Outcome, ...] = ()
    errors: tuple[Exception, ...] = ()


class Notices:
    """What the configuration says of notifications."""

    def __init__(self, config: Config, spool: Delivering) -> None:
        self._hostname = config.hostname
        self._postmaster = config.relay.postmaster
        self._spool = spool

    def compose(self, job: Job, owed: Sequence[Outcome]) -> Composed:
        """One notice for each attempt that owes word, about all of its recipients that are told of."""
        by_attempt: dict[int, list[Outcome]] = {}
        for outcome in owed:
            by_attempt.setdefault(outcome.attempt, []).append(outcome)
        notices: list[Notice] = []
        untold: list[Outcome] = []
        errors: list[Exception] = []
        for attempt, each in by_attempt.items():
            told, declined = wanted(job.envelope, each)
            untold += declined
            recipient = self._recipient(job.envelope, told) if told else None
            if recipient is None:
                untold += told
                continue
            facts = Facts(job.id, job.envelope, told, recipient, self._hostname)
            notices.append(self._notice(attempt, job, facts, errors))
        return Composed(tuple(notices), tuple(untold), tuple(errors))

    def summarise(self, owed: Sequence[tuple[Job, Sequence[Outcome]]], recipient: str) -> Notice:
        """One notice about the failures of many messages; it is queued as the first one's."""
        attempt = max(outcome.attempt for outcome in owed[0][1])
        told = [Told(job.id, job.envelope, wanted(job.envelope, each)[0]) for job, each in owed]
        at = owed[0][1][-1].at
        return Notice(attempt, addressed_to(recipient, at), summary.compose(told, recipient, self._hostname))

    def warn(self, job: Job, waiting: Sequence[Outcome], until: datetime) -> Composed:
        """The one notice that a message is late: `waiting` are the outcomes of those that are still open.

        Nobody is told of a delay but the sender: a null reverse-path means that nobody waits for word.
        """
        if job.envelope.reverse_path is None or not waiting:
            return Composed()
        told, _ = wanted(job.envelope, waiting)
        if not told:
            return Composed()
        facts = Facts(job.id, job.envelope, told, job.envelope.reverse_path, self._hostname, until)
        errors: list[Exception] = []
        return Composed((self._notice(DELAY, job, facts, errors),), errors=tuple(errors))

    def originator(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> str | None:
        """Who is told of failures among these: None where nobody can be told, or wants to be."""
        failures = [outcome for outcome in wanted(envelope, outcomes)[0] if outcome.kind.is_failure]
        return self._recipient(envelope, failures) if failures else None

    def _recipient(self, envelope: Envelope, told: Sequence[Outcome]) -> str | None:
        """The reverse-path; for a null one the postmaster, unless it is he who was not reached."""
        if envelope.reverse_path is not None:
            return envelope.reverse_path
        if self._postmaster is None:
            return None
        failed = {envelope.recipients[index].address.lower() for each in told for index in each.recipients}
        return None if self._postmaster.lower() in failed else self._postmaster

    def _notice(self, attempt: int, job: Job, facts: Facts, errors: list[Exception]) -> Notice:
        return Notice(attempt, addressed_to(facts.recipient, facts.at), self._mail_data(job, facts, errors))

    def _mail_data(self, job: Job, facts: Facts, errors: list[Exception]) -> bytes:
        original = Original()
        try:
            original = self._original(job, facts)
        except (SpoolError, OSError) as error:
            # The message's file may be gone: word of it is owed all the same.
            errors.append(error)
        try:
            return notification.compose(facts, original)
        except Exception as error:
            errors.append(error)
            return notification.compose(facts, Original())

    def _original(self, job: Job, facts: Facts) -> Original:
        """What goes back of it: RET is about failures only (RFC 3461 section 4.3)."""
        is_whole = job.envelope.ret == "FULL" and facts.has_failures and job.size <= WHOLE_OCTETS
        most = job.size if is_whole else HEADER_OCTETS
        start = b""
        for chunk in self._spool.read(job):
            start += chunk
            if len(start) > most:
                break
        return Original(start, is_whole)
