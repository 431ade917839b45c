"""Policy: who may send what where, as a pure function of the peer and the address.

Refuses to know sockets and sessions. Everyone may write to postmaster where one is configured (RFC 5321 section
4.5.1); everything else is for clients in the allowed networks, so that no configuration is an open relay by
accident.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

import msgspec

from relayd.base.routes import route_key
from relayd.base.sections import IP, Config, Route
from relayd.smtp.address import Address, NotAnAddress, parse_literal, parse_mailbox
from relayd.smtp.reply import Reply, reply

_MOST_KNOWN = 512


class Peer(msgspec.Struct, frozen=True):
    """Who has connected, from which port, and whether the network is one that may relay.

    `client` is what counts as one client where something is counted: an IPv6 host has a whole network of 64 bits.
    `literal` is the address as SMTP has it (RFC 5321 section 4.1.3), `host` as our own lines have it.
    """

    address: IP
    port: int
    may_relay: bool
    client: bytes
    literal: str
    host: str

    @classmethod
    def of(cls, address: IP, port: int, *, may_relay: bool) -> "Peer":
        """One whose address is unmapped."""
        tag = "IPv6:" if address.version == 6 else ""
        return cls(address, port, may_relay, address.packed[:8], f"[{tag}{address}]", f"[{address}]")

    def at(self, port: int) -> "Peer":
        """The same host, from another port."""
        return Peer(self.address, port, self.may_relay, self.client, self.literal, self.host)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """`own_names` are the host's names in lower case and `own_addresses` those it is reached at."""

    allow: Sequence[IPv4Network | IPv6Network]
    postmaster: Address | None
    own_names: frozenset[str]
    own_addresses: frozenset[IP]
    routes: Mapping[str, Route]
    # Those that came last. Most come again, and to read an address takes as long as all else at the entrance.
    _known: dict[str, Peer] = field(default_factory=dict, init=False, compare=False, repr=False)

    @classmethod
    def of(cls, config: Config, bound: Iterable[IP]) -> "Policy":
        """What the configuration and the addresses of the listeners come to.

        Names are the configured ones, those of the listeners, and "localhost", which every host answers to.
        """
        said = [config.hostname, config.delivery.ehlo_name or ""]
        literals = [found for name in said if (found := _in_brackets(name)) is not None]
        names = {*said, *(each.address for each in config.listeners), "localhost"}
        addresses = {unmapped(each) for each in (*bound, *config.delivery.own_addresses, *literals)}
        postmaster = config.relay.postmaster
        return cls(
            allow=config.relay.allow,
            postmaster=None if postmaster is None else parse_mailbox(postmaster),
            own_names=frozenset(name.lower() for name in names if name),
            # A wildcard is where the listener is bound, not an address that mail can be sent to.
            own_addresses=frozenset(each for each in addresses if not each.is_unspecified),
            routes=config.routes,
        )

    def peer(self, host: str, port: int) -> Peer:
        """What there is to know of a client, from what its socket says."""
        known = self._known.get(host)
        if known is None:
            address = address_of(host)
            known = Peer.of(address, port, may_relay=is_within(address, self.allow))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[host] = known
        return known.at(port)

    def route(self, address: Address, reached: IP | None, *, may_relay: bool) -> Address | Reply:
        """Where mail to the address goes on to, or the reply that refuses it.

        What a route refuses is refused here, so that the client hears it and nobody needs a notification.

        `reached` is the address of ours that the client connected to, where that is known: behind a wildcard
        listener it is the only one that shows. `may_relay` is for the peer's network and for a user alike.
        """
        if address.is_postmaster and self._is_ours(address, reached):
            if self.postmaster is not None:
                return self.postmaster
            if not address.domain:
                return reply(550, "5.1.1", f"<{address}>: no postmaster is configured here")
        if not may_relay:
            return reply(554, "5.7.1", f"<{address}>: Relay access denied")
        key = route_key(self.routes, address.domain)
        refusal = None if key is None else self.routes[key].error
        if refusal is not None:
            enhanced, _, text = refusal.partition(" ")
            return reply(550, enhanced, f"<{address}>: {text}")
        return address

    def _is_ours(self, address: Address, reached: IP | None) -> bool:
        if not address.domain or address.domain.lower() in self.own_names:
            return True
        literal = address.literal
        return literal is not None and (unmapped(literal) in self.own_addresses or unmapped(literal) == reached)


def is_within(address: IP, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether one of the networks has the address, which is unmapped."""
    return any(address.version == network.version and address in network for network in networks)


def address_of(host: str) -> IP:
    """The address that a socket says, without its zone and unmapped."""
    return unmapped(ip_address(host.partition("%")[0]))


def unmapped(address: IP) -> IP:
    """An IPv4 address where an IPv6 one only carries it, so that networks and literals mean what they say."""
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _in_brackets(name: str) -> IP | None:
    try:
        return parse_literal(name) if name.startswith("[") else None
    except NotAnAddress:
        return None
