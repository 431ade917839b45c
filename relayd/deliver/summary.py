"""A summary: one notification about the failures of many messages, for an originator who would get too many. Pure.

It has what each single notification would have said, but for the originals' headers: the messages are named by
their queue IDs. Refuses to know why it was made.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from relayd.deliver.notification import in_words
from relayd.deliver.report import assemble, status_part, text_part
from relayd.deliver.status import decoded, recipient_fields
from relayd.spool.envelope import Envelope
from relayd.spool.outcome import Outcome

_WRAP = 76


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a summary, and what is told of it: at least one failure, and what was relayed beside it."""

    message_id: str
    envelope: Envelope
    outcomes: tuple[Outcome, ...]


def compose(messages: Sequence[Told], recipient: str, hostname: str) -> bytes:
    """The whole summary as mail data; it depends on the arguments alone."""
    first = messages[0].message_id
    at = max(outcome.at for each in messages for outcome in each.outcomes)
    is_wide = not recipient.isascii()
    header = [
        ("From", f"Mail Delivery System <MAILER-DAEMON@{hostname}>"),
        ("To", f"<{recipient}>"),
        ("Subject", f"Undelivered Mail: {len(messages)} messages"),
        ("Date", format_datetime(at)),
        ("Message-ID", f"<{first}.{messages[0].outcomes[0].attempt}.summary@{hostname}>"),
    ]
    parts = [_explanation(messages, hostname), _status(messages, hostname, at, is_wide=is_wide)]
    return assemble(header, parts, is_wide=is_wide)


def _explanation(messages: Sequence[Told], hostname: str) -> bytes:
    lines = [
        f"This is relayd at {hostname}.",
        "",
        f"{len(messages)} of your messages could not be delivered to the recipients below, and",
        "will not be tried again. So many failed within an hour that you are told",
        "of these together.",
        "",
    ]
    for each in messages:
        lines.append(f"Queue ID {each.message_id}, arrived on {format_datetime(each.envelope.arrived)}:")
        for outcome in each.outcomes:
            said = textwrap.wrap(in_words(outcome), _WRAP, initial_indent="    ", subsequent_indent="    ")
            for index in outcome.recipients:
                lines += [f"  <{each.envelope.recipients[index].address}>:", *said]
        lines.append("")
    return text_part("text/plain", "Notification", "\r\n".join(lines).encode())


def _status(messages: Sequence[Told], hostname: str, at: datetime, *, is_wide: bool) -> bytes:
    """RFC 3464 section 2: fields about the whole, then a group for each recipient, with its message's ID."""
    groups = [
        [
            ("Reporting-MTA", f"dns; {hostname}"),
            ("X-Relayd-Summary", f"{len(messages)} messages, {format_datetime(at)}"),
        ]
    ]
    for each in messages:
        # The fields that would stand with the message, if it were one: RFC 3464 knows them only there.
        about = [("X-Relayd-Queue-ID", each.message_id)]
        if each.envelope.envid is not None:
            about.append(("X-Relayd-Original-Envelope-Id", decoded(each.envelope.envid)))
        groups += [
            [*recipient_fields(each.envelope.recipients[index], outcome, is_wide=is_wide), *about]
            for outcome in each.outcomes
            for index in outcome.recipients
        ]
    return status_part(groups, is_wide=is_wide)
