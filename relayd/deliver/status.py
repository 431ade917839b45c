r"""A status: what a machine is told of a message and of each recipient (RFC 3464 section 2), as fields. Pure.

Addresses beyond ASCII have the forms of RFC 6533 section 3: as they are in a report that goes by SMTPUTF8, else
with `\x{HEX}` for each such character. Refuses to know the report around it.
"""

import re
from datetime import datetime
from email.utils import format_datetime

from relayd.base.routes import a_labels
from relayd.smtp.order import seven_bit
from relayd.smtp.reply import Reply
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.outcome import Kind, Outcome

LONGEST_DIAGNOSTIC = 900
# An odd name is longer in print than in DNS.
_LONGEST_NAME = 255
_LONGEST_ADDRESS = 900
_DELIVERY_TIME_EXPIRED = "4.4.7"
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
# What ASCII has that an encoded address must not hold as it is (RFC 6533 section 3: QCHAR).
_NO_QCHAR = re.compile(r"[ +=\\]")


def message_fields(message_id: str, envelope: Envelope, hostname: str) -> list[tuple[str, str]]:
    """The fields about the message (section 2.2)."""
    envid = [] if envelope.envid is None else [("Original-Envelope-Id", decoded(envelope.envid))]
    return [
        *envid,
        ("Reporting-MTA", f"dns; {hostname}"),
        ("X-Relayd-Queue-ID", message_id),
        ("Arrival-Date", format_datetime(envelope.arrived)),
    ]


def recipient_fields(
    recipient: Recipient, outcome: Outcome, until: datetime | None = None, *, is_wide: bool = False
) -> list[tuple[str, str]]:
    """The fields about one recipient (section 2.3); with `until` it is late, and is tried until then."""
    fields: list[tuple[str, str]] = []
    if recipient.orcpt is not None:
        # RFC 3461 section 6.3 (d): from ORCPT, and from nothing else.
        fields.append(("Original-Recipient", _original(recipient.orcpt, is_wide)))
    fields += [
        ("Final-Recipient", _final(recipient.address, is_wide)),
        ("Action", _action(outcome) if until is None else "delayed"),
        ("Status", _status_code(outcome)),
    ]
    if outcome.exchanger:
        fields.append(("Remote-MTA", f"dns; {outcome.exchanger[:_LONGEST_NAME]}"))
    # Section 2.3.6: "smtp" is for what an SMTP server said.
    said = "smtp" if outcome.exchanger else "X-relayd"
    fields += [
        ("Diagnostic-Code", f"{said}; {_one_line(outcome.reply)}"),
        ("Last-Attempt-Date", format_datetime(outcome.at)),
    ]
    if until is not None:
        fields.append(("Will-Retry-Until", format_datetime(until)))
    return fields


def decoded(xtext: str) -> str:
    """What xtext stands for (RFC 3461 section 4), or itself where that would not be printable ASCII."""
    text = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), xtext)
    return text if text.isascii() and text.isprintable() else seven_bit(xtext)


def _action(outcome: Outcome) -> str:
    return "relayed" if outcome.kind.is_delivery else "failed"


def _original(orcpt: str, is_wide: bool) -> str:
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8":
        # It is not in xtext but in a form of its own, which is that of the field too.
        return f"utf-8; {address if is_wide else seven_bit(address)[:_LONGEST_ADDRESS]}"
    return f"{kind}; {decoded(address)}"


def _final(address: str, is_wide: bool) -> str:
    if address.isascii():
        return f"rfc822; {address}"
    if is_wide:
        return f"utf-8; {address}"
    local, _, domain = address.rpartition("@")
    quoted = _NO_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", local)
    # The other name of the same domain is shorter and can be read.
    return f"utf-8; {seven_bit(f'{quoted}@{a_labels(domain)}')[:_LONGEST_ADDRESS]}"


def _status_code(outcome: Outcome) -> str:
    """RFC 3463 section 3.5: the code of the actual problem, where there is one, rather than "time expired"."""
    if outcome.kind is Kind.EXPIRED:
        return outcome.reply.enhanced or _DELIVERY_TIME_EXPIRED
    return outcome.reply.status


def _one_line(answer: Reply) -> str:
    return str(answer)[:LONGEST_DIAGNOSTIC].encode("ascii", "replace").decode("ascii")
