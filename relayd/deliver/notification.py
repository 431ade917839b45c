"""A notification: the delivery status notification of RFC 3464 about one message, for its originator. Pure.

It tells of failures, which RFC 5321 section 6.1 owes to a reverse-path; of mail that was relayed to where nobody
confirms its delivery, where that was asked for (RFC 3461 section 5.2.2); or of a delay. It goes by SMTPUTF8 only
to an originator whose own address needs that (RFC 6533). Refuses to know where it is queued.
"""

import textwrap
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from relayd.deliver.original import Original
from relayd.deliver.report import assemble, status_part, text_part
from relayd.deliver.status import LONGEST_DIAGNOSTIC, message_fields, recipient_fields
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.outcome import DELAY, Kind, Outcome

_WRAP = 76
_UNDELIVERED = "Undelivered Mail Returned to Sender"
_DELAYED = "Delayed Mail (it is still being tried)"
_RELAYED = "Relayed Mail (its delivery will not be confirmed)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a notification is about: `outcomes` of one attempt, at least one. `recipient` is who is told.

    With `until` it is about a delay: the outcomes are not final, and are tried again until then.
    """

    message_id: str
    envelope: Envelope
    outcomes: tuple[Outcome, ...]
    recipient: str
    hostname: str
    until: datetime | None = None

    @property
    def attempt(self) -> int:
        """The attempt that they share; DELAY for a delay, of which there is one notification."""
        return self.outcomes[0].attempt if self.until is None else DELAY

    @property
    def at(self) -> datetime:
        """When the last of them was found out."""
        return max(outcome.at for outcome in self.outcomes)

    @property
    def has_failures(self) -> bool:
        """Whether somebody will never get the mail."""
        return any(outcome.kind.is_failure for outcome in self.outcomes)

    @property
    def is_wide(self) -> bool:
        """Whether the notification goes by SMTPUTF8."""
        return not self.recipient.isascii()


def addressed_to(recipient: str, at: datetime) -> Envelope:
    """A notification's envelope; by its null reverse-path it never causes another (RFC 3461 section 6.1)."""
    is_wide = not recipient.isascii()
    return Envelope(
        arrived=at,
        reverse_path=None,
        recipients=(Recipient(recipient),),
        body="8BITMIME" if is_wide else None,
        smtputf8=is_wide,
    )


def compose(facts: Facts, original: Original) -> bytes:
    """The whole notification as mail data.

    The result depends on the arguments alone, so that composing it again after a crash gives the same message.
    """
    header = [
        ("From", f"Mail Delivery System <MAILER-DAEMON@{facts.hostname}>"),
        ("To", f"<{facts.recipient}>"),
        ("Subject", _subject(facts)),
        ("Date", format_datetime(facts.at)),
        ("Message-ID", f"<{facts.message_id}.{facts.attempt}.dsn@{facts.hostname}>"),
    ]
    parts = [_explanation(facts), _status(facts), original.part(is_wide=facts.is_wide)]
    return assemble(header, parts, is_wide=facts.is_wide)


def in_words(outcome: Outcome) -> str:
    """What an exchanger said, and how often it was asked, for people."""
    where = f"{outcome.exchanger} [{outcome.address}]: " if outcome.address else ""
    said = f"{where}{str(outcome.reply)[:LONGEST_DIAGNOSTIC]}"
    match outcome.kind:
        case Kind.RELAYED:
            return f"relayed to an exchanger that does not confirm delivery: {said}"
        case Kind.EXPIRED:
            times = "time" if outcome.attempt == 1 else "times"
            return f"given up after it was tried {outcome.attempt} {times}; the last answer was: {said}"
        case _:
            return said


def _subject(facts: Facts) -> str:
    if facts.until is not None:
        return _DELAYED
    return _UNDELIVERED if facts.has_failures else _RELAYED


def _explanation(facts: Facts) -> bytes:
    lines = [f"This is relayd at {facts.hostname}.", ""]
    relayed = [each for each in facts.outcomes if each.kind is Kind.RELAYED]
    others = [each for each in facts.outcomes if each.kind is not Kind.RELAYED]
    if others:
        lines += [*_what_it_means(facts), "", *_recipients(facts, others)]
    if relayed:
        lines += [
            "Your message was passed on to the mail servers of the recipients below.",
            "They do not confirm delivery: you will hear no more of it, unless they",
            "tell you of a failure.",
            "",
            *_recipients(facts, relayed),
        ]
    arrived = format_datetime(facts.envelope.arrived)
    lines += [f"It arrived on {arrived}", f"and had the queue ID {facts.message_id}.", ""]
    return text_part("text/plain", "Notification", "\r\n".join(lines).encode())


def _recipients(facts: Facts, outcomes: list[Outcome]) -> list[str]:
    lines: list[str] = []
    for outcome in outcomes:
        said = textwrap.wrap(in_words(outcome), _WRAP, initial_indent="    ", subsequent_indent="    ")
        for index in outcome.recipients:
            lines += [f"<{facts.envelope.recipients[index].address}>:", *said, ""]
    return lines


def _what_it_means(facts: Facts) -> list[str]:
    if facts.until is None:
        return [
            "Your message could not be delivered to the recipients below, and it will",
            "not be tried again. Your message, or its header, is attached.",
        ]
    return [
        "Your message has not been delivered yet to the recipients below. You need",
        f"not send it again: it is tried until {format_datetime(facts.until)}.",
        "The headers of your message are attached.",
    ]


def _status(facts: Facts) -> bytes:
    envelope = facts.envelope
    groups = [message_fields(facts.message_id, envelope, facts.hostname)]
    groups += [
        recipient_fields(envelope.recipients[index], outcome, facts.until, is_wide=facts.is_wide)
        for outcome in facts.outcomes
        for index in outcome.recipients
    ]
    return status_part(groups, is_wide=facts.is_wide)
