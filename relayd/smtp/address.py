"""An address: the mailbox of RFC 5321 section 4.1.2, read by its grammar and written with the least quoting.

An international one (RFC 6531 section 3.3) may have characters beyond ASCII; only who asks for it gets one.
Refuses to know where an address leads and who may use it. Fails with `NotAnAddress`, whose text says what
is wrong; sizes are those of section 4.5.3.1.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import msgspec

from relayd.smtp.international import is_plain_text, parse_domain

# Section 4.1.2. Labels end at 63 octets (RFC 1035 section 2.3.4), which the grammar leaves to the DNS.
_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_SUB_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*"

_domain = re.compile(_DOMAIN, re.ASCII)
_mailbox = re.compile(rf"({_DOT_STRING}|{_QUOTED})@({_DOMAIN}|\[[^\[\]\\\s]+\])", re.ASCII)
_local_part = re.compile(rf"{_DOT_STRING}|{_QUOTED}", re.ASCII)
# RFC 6531 section 3.3: everything beyond ASCII is atext and qtext, and may be in a label, as far as
# international.py lets it. Written as what it is not, since classes with all of Unicode take long to compile.
_UATEXT = r"""[^\x00-\x20"(),.:;<>@\[\\\]\x7f]"""
_UDOT_STRING = rf"{_UATEXT}+(?:\.{_UATEXT}+)*"
_UQUOTED = r""""(?:[^\x00-\x1f"\\\x7f]|\\[\x20-\x7e])*\""""
_ULABEL = r"(?!-)[^\x00-,./:-@\[-`{-\x7f]+(?<!-)"
_UDOMAIN = rf"{_ULABEL}(?:\.{_ULABEL})*"
_international = re.compile(rf"({_UDOT_STRING}|{_UQUOTED})@({_UDOMAIN})")
_international_local = re.compile(rf"{_UDOT_STRING}|{_UQUOTED}")
# Of either kind, as it is written.
_dot_string = re.compile(_UDOT_STRING)
# Section 4.1.1.3 and appendix C: a source route is accepted and its hosts are ignored.
_source_route = re.compile(rf"@{_DOMAIN}(?:,@{_DOMAIN})*:", re.ASCII)
_quoted_pair = re.compile(r"\\(.)", re.DOTALL)
_needs_backslash = re.compile(r'(["\\])')

LOCAL_PART_OCTETS = 64
DOMAIN_OCTETS = 255
PATH_OCTETS = 256


class NotAnAddress(ValueError):
    """The text is no address by the grammar of section 4.1.2; the message says why."""


class Address(msgspec.Struct, frozen=True):
    """A mailbox: `local` without quoting, `domain` a name or a literal in brackets.

    Labels of `domain` beyond ASCII are valid U-labels in lower case (RFC 5890). `domain` is empty only in the
    reserved forward-path `<postmaster>` (section 4.5.1). The null reverse-path is None wherever one may stand,
    never an Address.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        return _written(self.local, self.domain)

    @property
    def literal(self) -> IPv4Address | IPv6Address | None:
        """The IP address of an address literal (section 4.1.3), or None when the domain is a name."""
        return parse_literal(self.domain) if self.domain.startswith("[") else None

    @property
    def is_postmaster(self) -> bool:
        """Whether the local part is the reserved mailbox of section 4.5.1, in any case."""
        return self.local.lower() == "postmaster"


# An application sends from a few addresses, and often to a few.
@lru_cache(maxsize=256)
def _written(local: str, domain: str) -> str:
    if not _dot_string.fullmatch(local):
        local = '"' + _needs_backslash.sub(r"\\\1", local) + '"'
    return f"{local}@{domain}" if domain else local


def parse_mailbox(text: str, *, international: bool = False) -> Address:
    """Read `local@domain`; raise NotAnAddress. Octets beyond ASCII are counted as UTF-8."""
    if international and not text.isascii():
        return _parse_international(text)
    match = _mailbox.fullmatch(text)
    if match is None:
        raise NotAnAddress("not of the form local-part@domain")
    local, domain = match.groups()
    if len(local) > LOCAL_PART_OCTETS:
        raise NotAnAddress(f"the local part is longer than {LOCAL_PART_OCTETS} octets")
    if len(domain) > DOMAIN_OCTETS:
        raise NotAnAddress(f"the domain is longer than {DOMAIN_OCTETS} octets")
    if domain.startswith("["):
        parse_literal(domain)
    return Address(_unquoted(local) if local.startswith('"') else local, domain)


def _parse_international(text: str) -> Address:
    # The domain alone may be beyond ASCII, but a literal has nothing there.
    local, at, literal = text.rpartition("@[")
    if at:
        parse_literal("[" + literal)
        match = _international_local.fullmatch(local)
    else:
        match = _international.fullmatch(text)
    if match is None or not is_plain_text(text):
        raise NotAnAddress("not of the form local-part@domain")
    local = local or match[1]
    if _octets(local) > LOCAL_PART_OCTETS:
        raise NotAnAddress(f"the local part is longer than {LOCAL_PART_OCTETS} octets")
    domain = "[" + literal if at else parse_domain(match[2])
    if domain is None:
        raise NotAnAddress("the domain is not valid by IDNA 2008")
    return Address(_unquoted(local) if local.startswith('"') else local, domain)


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _unquoted(local: str) -> str:
    return _quoted_pair.sub(r"\1", local[1:-1])


# And they come with other parameters each time, such as SIZE.
@lru_cache(maxsize=256)
def parse_path(text: str, *, international: bool = False) -> Address:
    """Read a path without its angle brackets: a mailbox, with or without a source route before it."""
    if (len(text) if text.isascii() else _octets(text)) + 2 > PATH_OCTETS:
        raise NotAnAddress(f"the path is longer than {PATH_OCTETS} octets")
    if text.startswith("@") and (route := _source_route.match(text)):
        text = text[route.end() :]
    return parse_mailbox(text, international=international)


def parse_literal(text: str) -> IPv4Address | IPv6Address:
    """Read `[192.0.2.1]` or `[IPv6:2001:db8::1]` (section 4.1.3); raise NotAnAddress."""
    if not (text.startswith("[") and text.endswith("]")):
        raise NotAnAddress(f"{text} is not in brackets")
    tag, inside = text[1:6], text[6:-1]
    try:
        if tag.lower() != "ipv6:":
            return IPv4Address(text[1:-1])
        # Python takes a zone, as in fe80::1%eth0; the grammar has none, and it would name an interface of ours.
        if "%" not in inside:
            return IPv6Address(inside)
    except ValueError:
        pass
    raise NotAnAddress(f"{text} is not an address literal")


def is_domain(text: str) -> bool:
    """Whether the text is a Domain by the grammar: letters, digits, hyphens and dots."""
    return len(text) <= DOMAIN_OCTETS and _domain.fullmatch(text) is not None


def is_local_part(text: str, *, international: bool = False) -> bool:
    """Whether the text is a local part alone, as VRFY may name a user (section 4.1.1.6)."""
    if international and not text.isascii():
        fits = _octets(text) <= LOCAL_PART_OCTETS and is_plain_text(text)
        return fits and _international_local.fullmatch(text) is not None
    return len(text) <= LOCAL_PART_OCTETS and _local_part.fullmatch(text) is not None
