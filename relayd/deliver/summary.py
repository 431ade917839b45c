"""A summary: one notification about the failures of many messages, for an originator who would get too many. Pure.

It has what each single notification would have said, but for the originals' headers: the messages are named by
their queue IDs. Refuses to know why it was made.
"""

import hashlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.utils import format_datetime

from relayd.deliver.notification import POLICY, in_words, recipient_group, text_part
from relayd.spool.envelope import Envelope
from relayd.spool.outcome import Outcome

_WRAP = 76


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a summary, and what failed of it; at least one."""

    message_id: str
    envelope: Envelope
    failures: tuple[Outcome, ...]


def compose(messages: Sequence[Told], recipient: str, hostname: str) -> bytes:
    """The whole summary as mail data; it depends on the arguments alone."""
    first = messages[0].message_id
    at = max(failure.at for each in messages for failure in each.failures)
    note = MIMEMultipart(
        "report",
        boundary="=_" + hashlib.blake2b(f"{first} summary".encode(), digest_size=12).hexdigest(),
        policy=POLICY,
        report_type="delivery-status",
    )
    note["From"] = f"Mail Delivery System <MAILER-DAEMON@{hostname}>"
    note["To"] = f"<{recipient}>"
    note["Subject"] = f"Undelivered Mail: {len(messages)} messages"
    note["Date"] = format_datetime(at)
    note["Message-ID"] = f"<{first}.{messages[0].failures[0].attempt}.summary@{hostname}>"
    note["Auto-Submitted"] = "auto-replied"
    note.preamble = "This is a delivery status notification in MIME format (RFC 3464)."
    note.attach(_explanation(messages, hostname))
    note.attach(_status(messages, hostname, at))
    return note.as_bytes()


def _explanation(messages: Sequence[Told], hostname: str) -> Message:
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
        for failure in each.failures:
            said = textwrap.wrap(in_words(failure), _WRAP, initial_indent="    ", subsequent_indent="    ")
            for index in failure.recipients:
                lines += [f"  <{each.envelope.recipients[index].address}>:", *said]
        lines.append("")
    return text_part("text/plain", "Notification", "\r\n".join(lines).encode())


def _status(messages: Sequence[Told], hostname: str, at: datetime) -> Message:
    """RFC 3464 section 2: fields about the whole, then a group for each recipient, with its message's ID."""
    about = Message(policy=POLICY)
    about["Reporting-MTA"] = f"dns; {hostname}"
    about["X-Relayd-Summary"] = f"{len(messages)} messages, {format_datetime(at)}"
    groups: list[Message | str] = [about]
    for each in messages:
        for failure in each.failures:
            for index in failure.recipients:
                group = recipient_group(each.envelope.recipients[index].address, failure)
                group["X-Relayd-Queue-ID"] = each.message_id
                groups.append(group)
    part = Message(policy=POLICY)
    part["Content-Type"] = "message/delivery-status"
    part["Content-Description"] = "Delivery report"
    part.set_payload(groups)
    return part
