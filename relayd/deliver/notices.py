"""Notices: who is told of a message's failures, and the notifications that do it (RFC 5321 section 6.1).

For the spool's thread, since it reads the message's header. Refuses to know how a notification is queued. One that
cannot be made as it should be is made without the original's header, and the error goes along to be told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relayd.base.sections import Config
from relayd.deliver import notification, summary
from relayd.deliver.notification import Facts
from relayd.deliver.summary import Told
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.errors import SpoolError
from relayd.spool.job import Job, Notice
from relayd.spool.outcome import DELAY, Outcome
from relayd.spool.protocol import Delivering


@dataclass(frozen=True, slots=True)
class Composed:
    """The notices, the failures that nobody is told of, and what went wrong on the way."""

    notices: tuple[Notice, ...] = ()
    untold: tuple[Outcome, ...] = ()
    errors: tuple[Exception, ...] = ()


class Notices:
    """What the configuration says of notifications."""

    def __init__(self, config: Config, spool: Delivering) -> None:
        self._hostname = config.hostname
        self._postmaster = config.relay.postmaster
        self._spool = spool

    def compose(self, job: Job, failures: Sequence[Outcome]) -> Composed:
        """One notice for each attempt with failures, about all recipients that failed in it."""
        by_attempt: dict[int, list[Outcome]] = {}
        for failure in failures:
            by_attempt.setdefault(failure.attempt, []).append(failure)
        notices: list[Notice] = []
        untold: list[Outcome] = []
        errors: list[Exception] = []
        for attempt, each in by_attempt.items():
            originator = self.originator(job.envelope, each)
            if originator is None:
                untold += each
                continue
            facts = Facts(
                message_id=job.id,
                envelope=job.envelope,
                failures=tuple(each),
                recipient=originator,
                hostname=self._hostname,
            )
            envelope = Envelope(arrived=facts.at, reverse_path=None, recipients=(Recipient(originator),))
            notices.append(Notice(attempt, envelope, self._mail_data(job, facts, errors)))
        return Composed(tuple(notices), tuple(untold), tuple(errors))

    def summarise(self, owed: Sequence[tuple[Job, Sequence[Outcome]]], recipient: str) -> Notice:
        """One notice about the failures of many messages; it is queued as the first one's."""
        _, failures = owed[0]
        attempt = max(failure.attempt for failure in failures)
        told = [Told(job.id, job.envelope, tuple(each)) for job, each in owed]
        envelope = Envelope(arrived=failures[-1].at, reverse_path=None, recipients=(Recipient(recipient),))
        return Notice(attempt, envelope, summary.compose(told, recipient, self._hostname))

    def warn(self, job: Job, waiting: Sequence[Outcome], until: datetime) -> Composed:
        """The one notice that a message is late: `waiting` are the outcomes of those that are still open.

        Nobody is told of a delay but the sender: a null reverse-path means that nobody waits for word.
        """
        if job.envelope.reverse_path is None or not waiting:
            return Composed()
        facts = Facts(
            message_id=job.id,
            envelope=job.envelope,
            failures=tuple(waiting),
            recipient=job.envelope.reverse_path,
            hostname=self._hostname,
            until=until,
        )
        errors: list[Exception] = []
        envelope = Envelope(arrived=facts.at, reverse_path=None, recipients=(Recipient(facts.recipient),))
        return Composed((Notice(DELAY, envelope, self._mail_data(job, facts, errors)),), errors=tuple(errors))

    def originator(self, envelope: Envelope, failures: Sequence[Outcome]) -> str | None:
        """Who is told: the reverse-path; for a null one the postmaster, unless it is he who was not reached."""
        if envelope.reverse_path is not None:
            return envelope.reverse_path
        if self._postmaster is None:
            return None
        failed = {envelope.recipients[index].address.lower() for each in failures for index in each.recipients}
        return None if self._postmaster.lower() in failed else self._postmaster

    def _mail_data(self, job: Job, facts: Facts, errors: list[Exception]) -> bytes:
        header = b""
        try:
            header = notification.header_of(self._start_of(job))
        except (SpoolError, OSError) as error:
            # The message's file may be gone: the failure is owed all the same.
            errors.append(error)
        try:
            return notification.compose(facts, header)
        except Exception as error:
            errors.append(error)
            return notification.compose(facts, b"")

    def _start_of(self, job: Job) -> bytes:
        start = b""
        for chunk in self._spool.read(job):
            start += chunk
            if len(start) > notification.HEADER_OCTETS:
                break
        return start
