"""A notification: the delivery status notification of RFC 3464 that tells of failures, or of a delay. Pure.

The message is what RFC 5321 section 6.1 owes to a reverse-path. MIME is the standard library's; every line is
7-bit and short enough for any server (section 4.5.3.1.6), whatever the exchanger said and the original's header
holds. Refuses to know where it is queued.
"""

import binascii
import hashlib
import re
import textwrap
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.policy import compat32
from email.utils import format_datetime

from relayd.smtp.reply import Reply
from relayd.spool.envelope import Envelope
from relayd.spool.outcome import DELAY, Kind, Outcome

# More of the original's header than this helps nobody (RFC 6522 section 4 leaves the choice to us).
HEADER_OCTETS = 65_536
_FIELD = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")
_WRAP = 76
_LONGEST_7BIT_LINE = 998
_LONGEST_DIAGNOSTIC = 900
# An odd name is longer in print than in DNS.
_LONGEST_NAME = 255
_DELIVERY_TIME_EXPIRED = "4.4.7"
_UNDELIVERED = "Undelivered Mail Returned to Sender"
_DELAYED = "Delayed Mail (it is still being tried)"
# What we write is folded by ourselves where it must be; the library's own folding could change an address.
POLICY = compat32.clone(linesep="\r\n", max_line_length=None)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a notification is about: `failures` of one attempt, at least one. `recipient` is who is told.

    With `until` it is about a delay: the failures are not final, and are tried again until then.
    """

    message_id: str
    envelope: Envelope
    failures: tuple[Outcome, ...]
    recipient: str
    hostname: str
    until: datetime | None = None

    @property
    def attempt(self) -> int:
        """The attempt that they share; DELAY for a delay, of which there is one notification."""
        return self.failures[0].attempt if self.until is None else DELAY

    @property
    def at(self) -> datetime:
        """When the last of them was found out."""
        return max(failure.at for failure in self.failures)


def header_of(start: bytes) -> bytes:
    """The header section (RFC 5322 section 2.2) at the start of mail data, bounded; its last line is whole.

    It ends at the first line that belongs to no field, as a reader of mail would see it.
    """
    kept: list[bytes] = []
    octets = 0
    for line in start[: HEADER_OCTETS + 1].split(b"\r\n")[:-1]:
        is_field = _FIELD.match(line) or (kept and line[:1] in (b" ", b"\t"))
        octets += len(line) + 2
        if not is_field or octets > HEADER_OCTETS:
            break
        kept.append(line + b"\r\n")
    return b"".join(kept)


def compose(facts: Facts, header: bytes) -> bytes:
    """The whole notification as mail data; `header` is the original's.

    The result depends on the arguments alone, so that composing it again after a crash gives the same message.
    """
    key = f"{facts.message_id} {facts.attempt}".encode()
    note = MIMEMultipart(
        "report",
        boundary="=_" + hashlib.blake2b(key, digest_size=12).hexdigest(),
        policy=POLICY,
        report_type="delivery-status",
    )
    note["From"] = f"Mail Delivery System <MAILER-DAEMON@{facts.hostname}>"
    note["To"] = f"<{facts.recipient}>"
    note["Subject"] = _UNDELIVERED if facts.until is None else _DELAYED
    note["Date"] = format_datetime(facts.at)
    note["Message-ID"] = f"<{facts.message_id}.{facts.attempt}.dsn@{facts.hostname}>"
    # RFC 3834 section 5: no vacation message answers it.
    note["Auto-Submitted"] = "auto-replied"
    note.preamble = "This is a delivery status notification in MIME format (RFC 3464)."
    note.attach(_explanation(facts))
    note.attach(_status(facts))
    note.attach(text_part("text/rfc822-headers", "Headers of the undelivered message", header))
    return note.as_bytes()


def _explanation(facts: Facts) -> Message:
    lines = [f"This is relayd at {facts.hostname}.", "", *_what_it_means(facts), ""]
    for failure in facts.failures:
        said = textwrap.wrap(in_words(failure), _WRAP, initial_indent="    ", subsequent_indent="    ")
        for index in failure.recipients:
            lines += [f"<{facts.envelope.recipients[index].address}>:", *said, ""]
    arrived = format_datetime(facts.envelope.arrived)
    lines += [f"It arrived on {arrived}", f"and had the queue ID {facts.message_id}.", ""]
    return text_part("text/plain", "Notification", "\r\n".join(lines).encode())


def _what_it_means(facts: Facts) -> list[str]:
    if facts.until is None:
        return [
            "Your message could not be delivered to the recipients below, and it will",
            "not be tried again. The headers of your message are attached.",
        ]
    return [
        "Your message has not been delivered yet to the recipients below. You need",
        f"not send it again: it is tried until {format_datetime(facts.until)}.",
        "The headers of your message are attached.",
    ]


def in_words(failure: Outcome) -> str:
    """What an exchanger said, and how often it was asked, for people."""
    where = f"{failure.exchanger} [{failure.address}]: " if failure.address else ""
    said = f"{where}{str(failure.reply)[:_LONGEST_DIAGNOSTIC]}"
    if failure.kind is not Kind.EXPIRED:
        return said
    times = "time" if failure.attempt == 1 else "times"
    return f"given up after it was tried {failure.attempt} {times}; the last answer was: {said}"


def _status(facts: Facts) -> Message:
    """The machine's part: per-message fields, then a group of fields for each recipient (RFC 3464 section 2)."""
    about = Message(policy=POLICY)
    about["Reporting-MTA"] = f"dns; {facts.hostname}"
    about["X-Relayd-Queue-ID"] = facts.message_id
    about["Arrival-Date"] = format_datetime(facts.envelope.arrived)
    groups: list[Message | str] = [about]
    for failure in facts.failures:
        groups += [
            recipient_group(facts.envelope.recipients[index].address, failure, facts.until)
            for index in failure.recipients
        ]
    part = Message(policy=POLICY)
    part["Content-Type"] = "message/delivery-status"
    part["Content-Description"] = "Delivery report"
    part.set_payload(groups)
    return part


def recipient_group(address: str, failure: Outcome, until: datetime | None = None) -> Message:
    """The fields about one recipient (RFC 3464 section 2.3)."""
    group = Message(policy=POLICY)
    # We rewrite no address, so that the one we had is the one the sender gave.
    group["Original-Recipient"] = f"rfc822; {address}"
    group["Final-Recipient"] = f"rfc822; {address}"
    group["Action"] = "failed" if until is None else "delayed"
    group["Status"] = _status_code(failure)
    if failure.exchanger:
        group["Remote-MTA"] = f"dns; {failure.exchanger[:_LONGEST_NAME]}"
    # Section 2.3.6: "smtp" is for what an SMTP server said.
    group["Diagnostic-Code"] = f"{'smtp' if failure.exchanger else 'X-relayd'}; {_one_line(failure.reply)}"
    group["Last-Attempt-Date"] = format_datetime(failure.at)
    if until is not None:
        group["Will-Retry-Until"] = format_datetime(until)
    return group


def _status_code(failure: Outcome) -> str:
    """RFC 3463 section 3.5: the code of the actual problem, where there is one, rather than "time expired"."""
    if failure.kind is Kind.EXPIRED:
        return failure.reply.enhanced or _DELIVERY_TIME_EXPIRED
    return failure.reply.status


def _one_line(answer: Reply) -> str:
    return str(answer)[:_LONGEST_DIAGNOSTIC].encode("ascii", "replace").decode("ascii")


def text_part(kind: str, description: str, text: bytes) -> Message:
    """Text as it is where that is sound 7-bit mail, else as quoted-printable, which keeps every octet."""
    part = Message(policy=POLICY)
    is_ascii = text.isascii()
    part["Content-Type"] = kind + ("" if is_ascii else '; charset="utf-8"')
    part["Content-Description"] = description
    lines = text.split(b"\r\n")
    if is_ascii and all(_is_sound(line) for line in lines):
        part["Content-Transfer-Encoding"] = "7bit"
    else:
        part["Content-Transfer-Encoding"] = "quoted-printable"
        text = b"\r\n".join(_quoted_printable(line) for line in lines)
    part.set_payload(text.decode("ascii"))
    return part


def _is_sound(line: bytes) -> bool:
    return len(line) <= _LONGEST_7BIT_LINE and not any(octet in line for octet in (b"\0", b"\r", b"\n"))


def _quoted_printable(line: bytes) -> bytes:
    """One line, without its CR LF; what stands in it of CR and LF is no line's end."""
    return binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n")
