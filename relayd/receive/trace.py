"""The trace line: the Received header that every message gets (RFC 5321 section 4.4). Pure.

What a client says of itself stands in it only where it is a domain or an address literal by the grammar.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

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


# Many messages come in one second.
@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def received(
    *,
    helo: str,
    client: str,
    hostname: str,
    protocol: str,
    message_id: str,
    only_recipient: str | None,
    at: datetime,
) -> bytes:
    """The line, folded, with its CR LF; `client` is an address literal, `protocol` one of `protocol_of`, `at` UTC.

    `only_recipient` fills the `for` clause, which section 7.6 wants for a single recipient only, since it would
    show the others.
    """
    # One word, since a quoted local part is not to be broken at its spaces.
    recipient = "" if only_recipient is None else f"{_FOLD}for <{only_recipient}>"
    beginning = _beginning(helo, client, hostname, protocol, len(message_id))
    return f"{beginning}{message_id}{recipient};{_FOLD}{date_of(at)}\r\n".encode()


# Many messages come in one session.
@lru_cache(maxsize=256)
def _beginning(helo: str, client: str, hostname: str, protocol: str, id_length: int) -> str:
    """What stands before the ID, folded for one of that length."""
    origin = _folded(["Received: from", trace_name(helo) or client, f"({client})"])
    by = _folded(["by", hostname, f"(relayd) with {protocol} id {'0' * id_length}"])
    return f"{origin}{_FOLD}{by}"[:-id_length]


def _folded(words: Sequence[str]) -> str:
    """The words in as few lines as the width allows; the tab that continues a line counts as one."""
    lines = [words[0]]
    for word in words[1:]:
        if 1 + len(lines[-1]) + 1 + len(word) <= _WIDTH:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return _FOLD.join(lines)
