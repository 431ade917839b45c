"""Exchangers: from what DNS said of a domain to the list of those that may be tried (RFC 5321 section 5.1). Pure.

The preference sorts them, we ourselves and all that are no better are left out, and what must not be connected
to is skipped. When nothing is left, the answer is a `Reply` that says why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Literal

from relayd.smtp.reply import Reply, reply

IP = IPv4Address | IPv6Address
Family = Literal["both", "4", "6"]

# A zone with thousands of records is no reason for thousands of look-ups; RFC 5321 asks for two at least.
MAXIMUM_EXCHANGERS = 20


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX record, or the domain itself as the implicit one; the name in lower case, without the last dot."""

    preference: int
    name: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address of one exchanger, and the port: what can be connected to."""

    preference: int
    exchanger: str
    address: IP
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if isinstance(self.address, IPv6Address) else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ourselves:
    """How this host is recognised: its name where its listeners have the delivery port, its addresses.

    `endpoints` are the addresses and ports its listeners are reached at, a wildcard both as itself and as the
    addresses it stands for; `addresses` lead here in ways that it cannot see, through NAT.
    """

    name: str
    endpoints: frozenset[tuple[IP, int]]
    addresses: frozenset[IP] = frozenset()

    def are_called(self, name: str, port: int) -> bool:
        """Whether an exchanger of this name is this host, whatever its addresses are."""
        return name == self.name and any(listening == port for _, listening in self.endpoints)

    def listen_at(self, candidate: Candidate) -> bool:
        """Whether a connection to the candidate would come to our own listeners."""
        if (candidate.address, candidate.port) in self.endpoints:
            return True
        # The kernel takes all of 127.0.0.0/8 for this host, and no list of interfaces has it.
        return candidate.address.is_loopback and any(
            each.is_unspecified and port == candidate.port for each, port in self.endpoints
        )

    def include(self, candidate: Candidate) -> bool:
        """Whether the candidate is this host."""
        return (
            candidate.address in self.addresses
            or self.listen_at(candidate)
            or self.are_called(candidate.exchanger, candidate.port)
        )


def nearest(exchangers: Iterable[Exchanger]) -> tuple[Exchanger, ...]:
    """The exchangers worth looking up: best preference first, each name once, bounded in number."""
    best: dict[str, Exchanger] = {}
    for exchanger in sorted(exchangers, key=lambda each: each.preference):
        best.setdefault(exchanger.name, exchanger)
    return tuple(best.values())[:MAXIMUM_EXCHANGERS]


def better_than_ours(
    exchangers: Sequence[Exchanger], ourselves: Ourselves, port: int
) -> Sequence[Exchanger] | Reply:
    """Those before the one that has our name; known before any look-up, which may fail for our own name too."""
    own = [each.preference for each in exchangers if ourselves.are_called(each.name, port)]
    better = [each for each in exchangers if each.preference < min(own)] if own else exchangers
    return better or _LOOP


def select(
    candidates: Sequence[Candidate],
    ourselves: Ourselves,
    *,
    family: Family = "both",
    allow_private: bool = False,
) -> list[Candidate] | Reply:
    """Those that may be tried, in order of preference, or why none may."""
    own = [each.preference for each in candidates if ourselves.include(each)]
    if own:
        candidates = [each for each in candidates if each.preference < min(own)]
        if not candidates:
            return _LOOP
    reachable = [each for each in candidates if _is_one_host(each.address)]
    if not reachable:
        return reply(550, "5.4.4", "no exchanger has an address that a host can have")
    public = [each for each in reachable if allow_private or _is_public(each)]
    if not public:
        what = (
            "addresses instead of names" if all(map(_has_no_name, reachable)) else "private or loopback addresses"
        )
        return reply(550, "5.4.4", f"all exchangers have {what}; delivery.private_exchangers = true allows them")
    usable = of_family(public, family)
    if isinstance(usable, Reply):
        return usable
    return sorted(usable, key=lambda each: each.preference)


def of_family(candidates: Sequence[Candidate], family: Family) -> list[Candidate] | Reply:
    """Those that delivery.ip allows."""
    allowed = [each for each in candidates if family in ("both", str(each.address.version))]
    return allowed or reply(550, "5.4.4", f'no exchanger has an address that delivery.ip = "{family}" allows')


def plain(address: IP) -> IP:
    """The address as it is compared: an IPv4 address is one also where it is written as IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_one_host(address: IP) -> bool:
    """Whether it can be another host's: 0.0.0.0 would be ourselves, and a group is nobody."""
    return not (address.is_unspecified or address.is_multicast or address == _BROADCAST)


def _is_public(candidate: Candidate) -> bool:
    """Whether anybody's DNS may send us there: to a host with a name on the open network."""
    address = candidate.address
    if _has_no_name(candidate):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global
    carried = address.sixtofour or _translated(address)
    if carried is not None:
        return carried.is_global
    return address.is_global and not address.is_site_local and address not in _LOCAL_TRANSLATION


def _has_no_name(candidate: Candidate) -> bool:
    """An MX record must have a name (RFC 5321 section 5.1). A recipient's literal has brackets, and is none."""
    try:
        ip_address(candidate.exchanger)
    except ValueError:
        return False
    return True


def _translated(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator on the way would make of it."""
    inside = any(address in each for each in _TRANSLATION)
    return IPv4Address(int(address) & 0xFFFF_FFFF) if inside else None


# RFC 6052 section 2.1, RFC 4291 section 2.5.5.1 and RFC 2765 section 2.1; RFC 8215.
_TRANSLATION = tuple(map(IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
_LOCAL_TRANSLATION = IPv6Network("64:ff9b:1::/48")
_BROADCAST = IPv4Address("255.255.255.255")
_LOOP = reply(554, "5.4.6", "mail for this domain loops back to this host: it is its own best exchanger")
