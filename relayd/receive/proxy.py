"""The PROXY protocol, versions 1 and 2: what a proxy says first of the client it connects for. Pure.

As HAProxy's proxy-protocol.txt has it. Whose word counts is decided elsewhere. `NotAHeader` is raised at the first
octet that no header has there, and when one is longer than allowed; until then no more is kept than a header has.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from relayd.base.sections import IP

_V1_START = b"PROXY "
# Section 2.1: the longest line, with its CR LF.
_V1_LONGEST = 107
# Numbers in canonical form.
_PORT = r"(0|[1-9][0-9]{0,4})"
_TCP = rf"(TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) {_PORT} {_PORT}"
_V1 = re.compile(rf"PROXY (?:UNKNOWN(?: [\x20-\x7e]*)?|{_TCP})\r\n")

_V2_START = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
# Addresses take 216 octets at most; what is more is said in type-length-values, which are skipped.
_V2_LONGEST = 4096
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


class NotAHeader(ValueError):
    """What came is no header of the protocol; the message says how."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: IP
    port: int


@dataclass(frozen=True, slots=True)
class Header:
    """For whom the proxy connects and where that client wanted to; None when it does not say."""

    source: Endpoint | None
    destination: Endpoint | None


# The proxy itself, as for a health check, or a client that it cannot name.
UNNAMED = Header(None, None)


def parse(octets: bytes) -> tuple[Header, bytes] | None:
    """The header and what came behind it; None while more is to come; raise NotAHeader."""
    for start, read in ((_V1_START, _v1), (_V2_START, _v2)):
        if octets.startswith(start):
            return read(octets)
        if start.startswith(octets):
            return None
    raise NotAHeader("no header of the PROXY protocol")


def _v1(octets: bytes) -> tuple[Header, bytes] | None:
    end = octets.find(b"\n", 0, _V1_LONGEST) + 1
    if not end:
        if len(octets) >= _V1_LONGEST:
            raise NotAHeader(f"a header of version 1 longer than {_V1_LONGEST} octets")
        return None
    match = _V1.fullmatch(octets[:end].decode("ascii", "replace"))
    if match is None:
        raise NotAHeader("a malformed header of version 1")
    if match[1] is None:
        return UNNAMED, octets[end:]
    kind = IPv4Address if match[1] == "TCP4" else IPv6Address
    try:
        header = Header(Endpoint(kind(match[2]), _port(match[4])), Endpoint(kind(match[3]), _port(match[5])))
    except (AddressValueError, ValueError):
        raise NotAHeader("a malformed address in a header of version 1") from None
    return header, octets[end:]


def _port(text: str) -> int:
    port = int(text)
    if port > 65_535:
        raise ValueError(text)
    return port


def _v2(octets: bytes) -> tuple[Header, bytes] | None:
    if len(octets) < _V2_FIXED:
        return None
    command, family = octets[12], octets[13]
    end = _V2_FIXED + int.from_bytes(octets[14:_V2_FIXED])
    if command not in (_LOCAL, _PROXY):
        raise NotAHeader(f"version and command {command:#04x} of a binary header")
    if end > _V2_LONGEST:
        raise NotAHeader(f"a header of version 2 longer than {_V2_LONGEST} octets")
    if len(octets) < end:
        return None
    return _v2_addresses(command, family, octets[_V2_FIXED:end]), octets[end:]


def _v2_addresses(command: int, family: int, block: bytes) -> Header:
    if command == _LOCAL or family not in (_TCP4, _TCP6):
        # Section 2.2: other families, UDP and UNIX among them, may be taken as if nothing were said.
        return UNNAMED
    size = 4 if family == _TCP4 else 16
    if len(block) < 2 * size + 4:
        raise NotAHeader("a header of version 2 that is too short for its addresses")
    kind = IPv4Address if family == _TCP4 else IPv6Address
    ports = block[2 * size : 2 * size + 4]
    return Header(
        Endpoint(kind(block[:size]), int.from_bytes(ports[:2])),
        Endpoint(kind(block[size : 2 * size]), int.from_bytes(ports[2:])),
    )
