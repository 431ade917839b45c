"""The trace line: the Received header that every message gets (RFC 5321 section 4.4). Pure.

What a client says of itself stands in it only where it is a domain or an address literal by the grammar.
"""

from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from ipaddress import IPv6Address

from relayd.base.sections import IP
from relayd.smtp.command import trace_name

# RFC 5322 section 2.1.1: lines should not be longer; what has no space to break at may be.
_WIDTH = 78


def protocol_of(*, extended: bool, secure: bool, authenticated: bool, utf8: bool) -> str:
    """The keyword of how a message came (RFC 3848, RFC 6531 section 4.3); for plain SMTP there is only one."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + "S" * secure + "A" * authenticated


def received(
    *,
    helo: str,
    client: IP,
    hostname: str,
    protocol: str,
    message_id: str,
    only_recipient: str | None,
    at: datetime,
) -> bytes:
    """The line, folded, with its CR LF; `at` is UTC and `protocol` one of `protocol_of`.

    `only_recipient` fills the `for` clause, which section 7.6 wants for a single recipient only, since it would
    show the others.
    """
    literal = f"[IPv6:{client}]" if isinstance(client, IPv6Address) else f"[{client}]"
    clauses = [
        ["Received: from", trace_name(helo) or literal, f"({literal})"],
        ["by", hostname, f"(relayd) with {protocol} id {message_id}"],
        # One word, since a quoted local part is not to be broken at its spaces.
        *([[f"for <{only_recipient}>"]] if only_recipient is not None else []),
    ]
    lines = [line for clause in clauses for line in _folded(clause)]
    return ("\r\n\t".join(lines) + ";\r\n\t" + format_datetime(at) + "\r\n").encode()


def _folded(words: Sequence[str]) -> list[str]:
    """The words in as few lines as the width allows; the tab that continues a line counts as one."""
    lines = [words[0]]
    for word in words[1:]:
        if 1 + len(lines[-1]) + 1 + len(word) <= _WIDTH:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
