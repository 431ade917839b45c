"""A command: one line of a client, read by the grammar of RFC 5321 section 4.1.

Refuses to know the session's state and who the client is. What is malformed becomes the `Reply` that says how
the command is written; nothing raises.
"""

import re
from dataclasses import dataclass

from relayd.smtp.address import (
    Address,
    NotAnAddress,
    is_domain,
    is_local_part,
    parse_literal,
    parse_mailbox,
    parse_path,
)
from relayd.smtp.reply import Reply, reply
from relayd.smtp.wording import SYNTAX, UNKNOWN_PARAMETER

# Section 4.5.3.1.4, and what the extensions add to MAIL: SIZE 26 (RFC 1870), 8BITMIME 17 (RFC 6152).
MAXIMUM_LINE = 512
MAXIMUM_MAIL_LINE = MAXIMUM_LINE + 26 + 17
_LONGEST_NAME = 255

_BLANKS = re.compile(r"[ \t]+")
# Section 4.1.2, esmtp-param.
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?")
# RFC 1870 section 4.
_SIZE = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL: a new transaction's reverse-path (None is the null one) and its parameters, `size` in octets."""

    reverse_path: Address | None
    size: int | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT: one more forward-path of the transaction."""

    forward_path: Address


def split(line: bytes) -> tuple[str, str]:
    """The verb in capitals, and the rest of a line without the blanks around it.

    An octet beyond ASCII becomes U+FFFD, which no verb and no grammar has.
    """
    verb, *rest = _BLANKS.split(line.decode("ascii", "replace"), maxsplit=1)
    return verb.upper(), rest[0].rstrip(" \t") if rest else ""


def is_text(argument: str) -> bool:
    """Whether there are only characters in it that a command may have (section 4.1.2, last paragraph)."""
    return argument.isascii() and argument.replace("\t", " ").isprintable()


def client_name(argument: str) -> str | None:
    """The name a client gives in HELO or EHLO; None when there is none.

    What is no domain by the grammar is taken all the same (section 4.1.4 forbids refusing mail for it), and
    words that follow it are ignored (section 4.1.1.1); it only has to be short.
    """
    name = _BLANKS.split(argument, maxsplit=1)[0]
    return name if 0 < len(name) <= _LONGEST_NAME else None


def parse_mail(argument: str, *, extended: bool) -> Mail | Reply:
    """Read what follows MAIL (section 4.1.1.2); `extended` says whether parameters may stand there."""
    found = _path(argument, "FROM:")
    if found is None:
        return SYNTAX["MAIL"]
    path, parameters = found
    try:
        reverse_path = parse_path(path) if path else None
    except NotAnAddress:
        return SYNTAX["MAIL"]
    if not parameters:
        return Mail(reverse_path)
    if not extended:
        return UNKNOWN_PARAMETER
    return _mail_parameters(reverse_path, parameters)


def _mail_parameters(reverse_path: Address | None, parameters: list[str]) -> Mail | Reply:
    size: int | None = None
    body: str | None = None
    for word in parameters:
        found = _PARAMETER.fullmatch(word)
        if found is None:
            return SYNTAX["MAIL"]
        keyword, value = found[1].upper(), (found[2] or "").upper()
        match keyword:
            case "SIZE" if size is None and _SIZE.fullmatch(value):
                size = int(value)
            case "BODY" if body is None and value in ("7BIT", "8BITMIME"):
                body = value
            case "SIZE" | "BODY":
                return reply(501, "5.5.4", f"Error: bad or repeated parameter {word[:80]}")
            case _:
                return UNKNOWN_PARAMETER
    return Mail(reverse_path, size, body)


def parse_rcpt(argument: str) -> Rcpt | Reply:
    """Read what follows RCPT (section 4.1.1.3), `<postmaster>` without a domain included."""
    found = _path(argument, "TO:")
    if found is None:
        return SYNTAX["RCPT"]
    path, parameters = found
    try:
        forward_path = Address(path, "") if path.lower() == "postmaster" else parse_path(path)
    except NotAnAddress:
        return SYNTAX["RCPT"]
    if not parameters:
        return Rcpt(forward_path)
    well_formed = all(_PARAMETER.fullmatch(word) for word in parameters)
    return UNKNOWN_PARAMETER if well_formed else SYNTAX["RCPT"]


def names_a_user(argument: str) -> bool:
    """Whether the argument of VRFY is a mailbox or a user name (section 4.1.1.6)."""
    if argument.startswith("<") and argument.endswith(">"):
        argument = argument[1:-1]
    if is_local_part(argument):
        return True
    try:
        parse_mailbox(argument)
    except NotAnAddress:
        return False
    return True


def _path(argument: str, keyword: str) -> tuple[str, list[str]] | None:
    """The path inside the angle brackets after the keyword, and the parameters after them."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    text = argument[len(keyword) :].lstrip(" \t")
    if not text.startswith("<"):
        return None
    end = _closing_bracket(text)
    if end < 0:
        return None
    path, rest = text[1:end], text[end + 1 :]
    if not rest:
        return path, []
    blank, *parameters = _BLANKS.split(rest)
    return None if blank else (path, parameters)


def _closing_bracket(text: str) -> int:
    """Where the path ends: the first `>` outside a quoted local part, or -1."""
    if '"' not in text:
        return text.find(">")
    quoted = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == ">" and not quoted:
            return index
    return -1


def trace_name(name: str) -> str | None:
    """The client's name as it may stand in a Received line: a domain or a literal, else None (section 4.4)."""
    if is_domain(name):
        return name
    try:
        parse_literal(name)
    except NotAnAddress:
        return None
    return name
