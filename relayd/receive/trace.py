"""The trace line: the Received header that every message gets (RFC 5321 section 4.4). Pure.

What a client says of itself stands in it only where it is a domain or an address literal by the grammar.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from ipaddress import IPv6Address

from relayd.base.sections import IP
from relayd.smtp.command import trace_name

# RFC 5322 section 2.1.1: lines should not be longer; what has no space to break at may be.
_WIDTH = 78
_FOLD = "\r\n\t"


def protocol_of(*, extended: bool, secure: bool, authenticated: bool, utf8: bool) -> str:
    """The keyword of how a message came (RFC 3848, RFC 6531 section 4.3); for plain SMTP there is only one."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + "S" * secure + "A" * authenticated


def date_of(at: datetime) -> str:
    """A date as header fields have it (RFC 5322 section 3.3); `at` is UTC."""
    return _date(int(at.timestamp()))


# Many messages come in one second, and many from one client.
@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


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
    clauses = [_origin(helo, client), _folded(["by", hostname, f"(relayd) with {protocol} id {message_id}"])]
    if only_recipient is not None:
        # One word, since a quoted local part is not to be broken at its spaces.
        clauses.append(f"for <{only_recipient}>")
    return (_FOLD.join(clauses) + f";{_FOLD}{date_of(at)}\r\n").encode()


@lru_cache(maxsize=256)
def _origin(helo: str, client: IP) -> str:
    literal = f"[IPv6:{client}]" if isinstance(client, IPv6Address) else f"[{client}]"
    return _folded(["Received: from", trace_name(helo) or literal, f"({literal})"])


def _folded(words: Sequence[str]) -> str:
    """The words in as few lines as the width allows; the tab that continues a line counts as one."""
    lines = [words[0]]
    for word in words[1:]:
        if 1 + len(lines[-1]) + 1 + len(word) <= _WIDTH:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return _FOLD.join(lines)
