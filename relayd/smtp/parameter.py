"""The parameters of MAIL and RCPT that extensions bring (RFC 5321 section 4.1.2), each with its own grammar.

    MAIL    SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461), AUTH (RFC 4954)
    RCPT    NOTIFY and ORCPT (RFC 3461)

Refuses to know what they are good for. What is malformed becomes the `Reply` that names the word; nothing raises.
"""

import re
from collections.abc import Callable, Sequence

from relayd.smtp.international import is_plain_text
from relayd.smtp.reply import Reply, reply
from relayd.smtp.wording import UNKNOWN_PARAMETER

# Section 4.1.2, esmtp-param; RFC 6531 section 3.3 lets its value be UTF-8.
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
# RFC 1870 section 4.
_SIZE = re.compile(r"[0-9]{1,20}")
# RFC 3461 section 4: xtext, and the bounds of what is made of it.
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_ENVID_OCTETS = 100
_ORCPT_OCTETS = 500
_NOTIFICATIONS = {"SUCCESS", "FAILURE", "DELAY"}
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+")
# RFC 6533 section 3: an address beyond ASCII as it is, or with its code points written out.
_UTF8_ADDRESS = re.compile(r"(?:[^\x00-\x20+=\\\x7f]|\\x\{(?:[0-9A-F]{2,5}|10[0-9A-F]{4})\})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]+)\}")

# A parameter's value as it is kept, or None where it is not well-formed. Without "=" the value is empty.
_Reader = Callable[[str], str | None]


def read(words: Sequence[str], readers: dict[str, _Reader]) -> dict[str, str] | Reply | None:
    """The values by their keywords; the refusal of one; None when a word is no parameter at all.

    Only ORCPT may have a value beyond ASCII (RFC 6533 section 3).
    """
    values: dict[str, str] = {}
    for word in words:
        found = _PARAMETER.fullmatch(word)
        if found is None:
            return None
        keyword = found[1].upper()
        reader = readers.get(keyword)
        if reader is None:
            return UNKNOWN_PARAMETER
        value = reader(found[2] or "") if word.isascii() or keyword == "ORCPT" else None
        if value is None or keyword in values:
            return reply(501, "5.5.4", f"Error: bad or repeated parameter {word[:80]}")
        values[keyword] = value
    return values


def _size(value: str) -> str | None:
    return value if _SIZE.fullmatch(value) else None


def _body(value: str) -> str | None:
    # BINARYMIME (RFC 3030) is not offered: what comes on to an exchanger is lines.
    return value.upper() if value.upper() in ("7BIT", "8BITMIME") else None


def _smtputf8(value: str) -> str | None:
    return None if value else "SMTPUTF8"


def _ret(value: str) -> str | None:
    return value.upper() if value.upper() in ("FULL", "HDRS") else None


def _envid(value: str) -> str | None:
    """RFC 3461 section 4.4: up to 100 octets of xtext, of printable characters."""
    return value if value and len(value) <= _ENVID_OCTETS and _is_printable_xtext(value) else None


def _auth(value: str) -> str | None:
    """RFC 4954 section 5: whom the message is from, as xtext. Nobody here believes it."""
    return value if value and _is_printable_xtext(value) else None


def _notify(value: str) -> str | None:
    """RFC 3461 section 4.1: NEVER alone, or a list of the others, each once."""
    words = value.upper().split(",")
    fits = words == ["NEVER"] or (len(words) == len(set(words)) and _NOTIFICATIONS.issuperset(words))
    return ",".join(words) if fits else None


def _orcpt(value: str) -> str | None:
    """RFC 3461 section 4.2 and RFC 6533 section 3: a type, a semicolon, and an address in xtext."""
    kind, _, address = value.partition(";")
    if not _ADDRESS_TYPE.fullmatch(kind) or not address or len(value.encode()) > _ORCPT_OCTETS:
        return None
    sound = _is_utf8_address(address) if kind.lower() == "utf-8" else _is_printable_xtext(address)
    return value if sound else None


def _is_printable_xtext(text: str) -> bool:
    """Whether it is xtext of printable ASCII: a line break written in it may become one further on."""
    return _XTEXT.fullmatch(text) is not None and all(0x20 <= int(each, 16) < 0x7F for each in _HEX.findall(text))


def _is_utf8_address(text: str) -> bool:
    if not _UTF8_ADDRESS.fullmatch(text):
        return False
    return is_plain_text(_EMBEDDED.sub(lambda found: chr(int(found[1], 16)), text))


MAIL: dict[str, _Reader] = {"SIZE": _size, "BODY": _body, "SMTPUTF8": _smtputf8, "RET": _ret, "ENVID": _envid}
MAIL_WITH_AUTH: dict[str, _Reader] = {**MAIL, "AUTH": _auth}
RCPT: dict[str, _Reader] = {"NOTIFY": _notify, "ORCPT": _orcpt}
