"""A command: one line of a client, read by the grammar of RFC 5321 section 4.1.

Refuses to know the session's state and who the client is. What is malformed becomes the `Reply` that says how
the command is written; nothing raises.
"""

import re
from functools import lru_cache
from typing import Literal

import msgspec

from relayd.smtp import parameter
from relayd.smtp.address import (
    Address,
    NotAnAddress,
    is_domain,
    is_local_part,
    parse_literal,
    parse_mailbox,
    parse_path,
)
from relayd.smtp.reply import Reply
from relayd.smtp.wording import INTERNATIONAL_PATH, INTERNATIONAL_REVERSE_PATH, SYNTAX, UNKNOWN_PARAMETER

_LONGEST_NAME = 255

_BLANKS = re.compile(r"[ \t]+")
# RFC 3030 section 2: how many octets the chunk has, and whether it is the last.
_CHUNK = re.compile(r"([0-9]{1,20})(?:[ \t]+(LAST))?", re.IGNORECASE | re.ASCII)


class Mail(msgspec.Struct, frozen=True):
    """MAIL: a new transaction's reverse-path (None is the null one) and its parameters, `size` in octets.

    `ret` and `envid` are those of RFC 3461 section 4, `envid` in xtext as it came.
    """

    reverse_path: Address | None
    size: int | None = None
    body: str | None = None
    smtputf8: bool = False
    ret: Literal["FULL", "HDRS"] | None = None
    envid: str | None = None


class Rcpt(msgspec.Struct, frozen=True):
    """RCPT: one more forward-path of the transaction.

    `notify`, in capital letters, and `orcpt`, as it came, are the parameters of RFC 3461 section 4.
    """

    forward_path: Address
    notify: str | None = None
    orcpt: str | None = None


def split(line: bytes) -> tuple[str, str]:
    """The verb in capitals, and the rest of a line without the blanks around it.

    What is no UTF-8 becomes U+FFFD, which no verb and no grammar has. A verb beyond ASCII is left as it is, since
    some such letters have a capital in ASCII.
    """
    text = line.decode("utf-8", "replace")
    if "\t" in text:
        verb, *rest = _BLANKS.split(text, maxsplit=1)
        argument = rest[0].rstrip(" \t") if rest else ""
    else:
        verb, _, argument = text.partition(" ")
        argument = argument.strip(" ")
    return verb.upper() if verb.isascii() else verb, argument


def is_text(argument: str, *, international: bool) -> bool:
    """Whether there are only characters in it that a command may have (section 4.1.2, last paragraph).

    `international` is for a command with a mailbox (RFC 6531 section 3.3).
    """
    if not argument.isascii() and (not international or "\ufffd" in argument):
        return False
    return argument.isprintable() or argument.replace("\t", " ").isprintable()


def client_name(argument: str) -> str | None:
    """The name a client gives in HELO or EHLO; None when there is none.

    What is no domain by the grammar is taken all the same (section 4.1.4 forbids refusing mail for it), and
    words that follow it are ignored (section 4.1.1.1); it only has to be short.
    """
    name = argument.replace("\t", " ").partition(" ")[0]
    return name if 0 < len(name) <= _LONGEST_NAME else None


# An application says the same few things again and again.
@lru_cache(maxsize=256)
def parse_mail(
    argument: str, extended: bool, origin: str | None = None, authenticates: bool = False
) -> Mail | Reply:
    """Read what follows MAIL (section 4.1.1.2); `extended` says whether parameters may stand there.

    `origin` is the domain of a path that has none, and `authenticates` whether there is AUTH, which brings a
    parameter of that name.
    """
    found = _path(argument, "FROM:")
    if found is None:
        return SYNTAX["MAIL"]
    path, words = found
    try:
        reverse_path = _address(path, origin, international=extended) if path else None
    except NotAnAddress:
        return SYNTAX["MAIL"]
    if not words:
        return Mail(reverse_path) if path.isascii() else INTERNATIONAL_REVERSE_PATH
    if not extended:
        return UNKNOWN_PARAMETER
    values = parameter.read(words, parameter.MAIL_WITH_AUTH if authenticates else parameter.MAIL)
    if not isinstance(values, dict):
        return values or SYNTAX["MAIL"]
    smtputf8 = "SMTPUTF8" in values
    if not path.isascii() and not smtputf8:
        return INTERNATIONAL_REVERSE_PATH
    size, ret = values.get("SIZE"), values.get("RET")
    return Mail(
        reverse_path,
        None if size is None else int(size),
        values.get("BODY"),
        smtputf8,
        "FULL" if ret == "FULL" else "HDRS" if ret == "HDRS" else None,
        values.get("ENVID"),
    )


@lru_cache(maxsize=256)
def parse_rcpt(
    argument: str, extended: bool = True, origin: str | None = None, smtputf8: bool = False
) -> Rcpt | Reply:
    """Read what follows RCPT (section 4.1.1.3), `<postmaster>` without a domain included.

    `origin` is as for MAIL; `smtputf8` says whether MAIL had the parameter of that name.
    """
    found = _path(argument, "TO:")
    if found is None:
        return SYNTAX["RCPT"]
    path, words = found
    try:
        if path.lower() == "postmaster":
            forward_path = Address(path, "")
        else:
            forward_path = _address(path, origin, international=extended)
    except NotAnAddress:
        return SYNTAX["RCPT"]
    if not smtputf8 and not argument.isascii():
        return INTERNATIONAL_PATH
    if not words:
        return Rcpt(forward_path)
    if not extended:
        return UNKNOWN_PARAMETER
    values = parameter.read(words, parameter.RCPT)
    if not isinstance(values, dict):
        return values or SYNTAX["RCPT"]
    return Rcpt(forward_path, values.get("NOTIFY"), values.get("ORCPT"))


def parse_bdat(argument: str) -> tuple[int, bool] | None:
    """Read what follows BDAT: the chunk's octets, and whether it is the last; None when it says neither."""
    found = _CHUNK.fullmatch(argument)
    return None if found is None else (int(found[1]), found[2] is not None)


def parse_auth(argument: str) -> tuple[str, str] | None:
    """Read what follows AUTH (RFC 4954 section 4): the mechanism in capitals, and the initial response or ""."""
    words = argument.split()
    return (words[0].upper(), "".join(words[1:])) if 1 <= len(words) <= 2 else None


def parse_vrfy(argument: str, *, extended: bool) -> Reply | None:
    """What is wrong with the argument of VRFY: a mailbox or a user name (section 4.1.1.6), and SMTPUTF8.

    RFC 6531 section 3.7.4.2 has the parameter.
    """
    words = argument.rsplit(None, 1)
    smtputf8 = extended and len(words) == 2 and words[1].isascii() and words[1].upper() == "SMTPUTF8"
    user = words[0] if smtputf8 else argument
    if not _names_a_user(user, international=extended):
        return SYNTAX["VRFY"]
    return None if smtputf8 or user.isascii() else INTERNATIONAL_PATH


def _names_a_user(text: str, *, international: bool) -> bool:
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if is_local_part(text, international=international):
        return True
    try:
        parse_mailbox(text, international=international)
    except NotAnAddress:
        return False
    return True


def _address(path: str, origin: str | None, *, international: bool) -> Address:
    """A path's mailbox, which has the origin's domain where it has none itself; raise NotAnAddress."""
    if origin is not None and is_local_part(path, international=international):
        path = f"{path}@{origin}"
    return parse_path(path, international=international)


def _path(argument: str, keyword: str) -> tuple[str, list[str]] | None:
    """The path inside the angle brackets after the keyword, and the parameters after them."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    text = argument[len(keyword) :].lstrip(" \t")
    if not text.startswith("<"):
        return None
    end = text.find(">") if '"' not in text else _closing_bracket(text)
    if end < 0:
        return None
    path, rest = text[1:end], text[end + 1 :]
    if not rest:
        return path, []
    blank, *words = _BLANKS.split(rest)
    return None if blank else (path, words)


def _closing_bracket(text: str) -> int:
    """Where the path ends: the first `>` outside a quoted local part, or -1."""
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
