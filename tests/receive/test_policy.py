"""Policy: who may send what where, and which addresses are this host's own."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest

from relayd.base.config import Config, load
from relayd.base.sections import IP, Route
from relayd.receive.policy import Peer, Policy, address_of
from relayd.smtp.address import Address, parse_mailbox
from relayd.smtp.command import Rcpt, parse_rcpt
from relayd.smtp.reply import Reply

OPS = Address("ops", "example.org")
STRANGER = "198.51.100.7"
LOCAL = "127.0.0.1"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A relay for loopback, with a postmaster, bound to one address of its own."""
    path = tmp_path / "relayd.toml"
    path.write_text('hostname = "relay.example.org"\n[relay]\npostmaster = "ops@example.org"')
    return load(path)


def policy(config: Config, *bound: str) -> Policy:
    """The policy behind these listeners."""
    return Policy.of(config, [ip_address(each) for each in bound or ("192.0.2.1",)])


def route(policy: Policy, client: str, rcpt: str, reached: str | None = None) -> Address | Reply:
    """The verdict on RCPT TO:<rcpt> from a client that connected to `reached`."""
    event = parse_rcpt(f"TO:<{rcpt}>")
    assert isinstance(event, Rcpt)
    here: IP | None = None if reached is None else ip_address(reached)
    return policy.route(event.forward_path, here, may_relay=policy.peer(client, 1024).may_relay)


def is_denied(verdict: Address | Reply) -> bool:
    """Whether relaying was refused."""
    return isinstance(verdict, Reply) and (verdict.code, verdict.enhanced) == (554, "5.7.1")


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_who_is_allowed_may_relay(config: Config, client: str) -> None:
    """IPv4 behind an IPv6 socket is IPv4, and a zone does not make another address."""
    assert route(policy(config), client, "b@example.net") == Address("b", "example.net")


@pytest.mark.parametrize(
    "client", [STRANGER, "::ffff:198.51.100.7", "2001:db8::1", "fe80::1%eth0", "0.0.0.0", "::"]
)
def test_everyone_else_may_not(config: Config, client: str) -> None:
    """The reply names the address."""
    verdict = route(policy(config), client, "b@example.net")
    assert isinstance(verdict, Reply)
    assert str(verdict) == "554 5.7.1 <b@example.net>: Relay access denied"


@pytest.mark.parametrize(
    "rcpt",
    [
        "b%example.net@relay.example.org",
        "example.net!b@relay.example.org",
        '"b@example.net"@relay.example.org',
        "b@[192.0.2.1]",
        "@relay.example.org:b@example.net",
        "postmaster@example.net",
        '"postmaster "@relay.example.org',
        "postmaster%example.net@relay.example.org",
        "postmaster@[198.51.100.1]",
        "postmaster@[127.0.0.1]",
    ],
)
def test_no_form_of_address_makes_a_stranger_relay(config: Config, rcpt: str) -> None:
    """The domain decides, and what only looks like postmaster is not."""
    assert is_denied(route(policy(config), STRANGER, rcpt))


@pytest.mark.parametrize("client", [STRANGER, LOCAL])
@pytest.mark.parametrize(
    "rcpt",
    [
        "postmaster",
        "PostMaster",
        "postmaster@relay.example.org",
        "POSTMASTER@Relay.Example.ORG",
        '"postmaster"@relay.example.org',
        "postmaster@localhost",
        "postmaster@[192.0.2.1]",
        "postmaster@[IPv6:::ffff:192.0.2.1]",
        "@hop.example:postmaster@relay.example.org",
    ],
)
def test_everyone_reaches_postmaster(config: Config, client: str, rcpt: str) -> None:
    """Section 4.5.1: in any case, without a domain, at our names and addresses; it goes where it is read."""
    assert route(policy(config), client, rcpt) == OPS


def test_postmaster_of_another_domain_is_not_ours(config: Config) -> None:
    """A client that may relay writes to it as to anybody."""
    assert route(policy(config), LOCAL, "postmaster@example.net") == Address("postmaster", "example.net")


def test_names_of_listeners_and_the_name_in_ehlo_are_ours(config: Config) -> None:
    """Whatever name of this host a client could know."""
    named = replace(
        config,
        listeners=(replace(config.listeners[0], address="Mail-In.example.org"),),
        delivery=replace(config.delivery, ehlo_name="out.example.org"),
    )
    for domain in ("mail-in.example.org", "OUT.example.org", "relay.example.org"):
        assert route(policy(named), STRANGER, f"postmaster@{domain}") == OPS


def test_addresses_behind_a_translation_and_in_names_are_ours(config: Config) -> None:
    """Those of delivery.own_addresses, and a host name that is an address literal."""
    translated = replace(
        config,
        hostname="[IPv6:2001:db8::25]",
        delivery=replace(config.delivery, own_addresses=(ip_address("203.0.113.9"),)),
    )
    for literal in ("[203.0.113.9]", "[IPv6:2001:DB8::25]", "[192.0.2.1]"):
        assert route(policy(translated), STRANGER, f"postmaster@{literal}") == OPS


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_behind_a_wildcard_the_address_the_client_reached_is_ours(config: Config, wildcard: str) -> None:
    """The wildcard itself is no address, and other addresses stay other hosts'."""
    bound = policy(config, wildcard)
    assert route(bound, STRANGER, "postmaster@[192.0.2.8]", "192.0.2.8") == OPS
    assert route(bound, STRANGER, "postmaster@[IPv6:2001:db8::8]", "2001:db8::8") == OPS
    assert is_denied(route(bound, STRANGER, "postmaster@[192.0.2.9]", "192.0.2.8"))
    assert is_denied(route(bound, STRANGER, "postmaster@[192.0.2.9]", None))
    assert is_denied(route(bound, STRANGER, "postmaster@[0.0.0.0]", "192.0.2.8"))
    assert is_denied(route(bound, STRANGER, "postmaster@[IPv6:::]", "192.0.2.8"))


def test_without_a_postmaster_nobody_gets_more_than_before(config: Config) -> None:
    """The bare name is refused with the reason; the others are addresses like any."""
    nobody = replace(config, relay=replace(config.relay, postmaster=None))
    for client in (STRANGER, LOCAL):
        verdict = route(policy(nobody), client, "Postmaster")
        assert str(verdict) == "550 5.1.1 <Postmaster>: no postmaster is configured here"
    assert is_denied(route(policy(nobody), STRANGER, "postmaster@relay.example.org"))
    assert route(policy(nobody), LOCAL, "postmaster@relay.example.org") == parse_mailbox(
        "postmaster@relay.example.org"
    )


def test_what_a_route_refuses_is_refused_at_once(config: Config) -> None:
    """With its code and text, whatever the letters of the domain are; a stranger hears that it may not relay."""
    routes = {
        "old.example": Route((), error="5.1.2 this company is gone"),
        ".old.example": Route(("10.0.0.5",)),
        "later.example": Route((), hold=True),
        "xn--bcher-kva.example": Route((), error="5.7.1 not from here"),
    }
    bound = policy(replace(config, routes=routes))
    verdict = route(bound, LOCAL, "b@Old.example")
    assert str(verdict) == "550 5.1.2 <b@Old.example>: this company is gone"
    assert is_denied(route(bound, STRANGER, "b@old.example"))
    for domain in ("sub.old.example", "later.example", "example.net"):
        assert route(bound, LOCAL, f"b@{domain}") == Address("b", domain)
    wide = bound.route(Address("b", "b\u00fccher.example"), None, may_relay=True)
    assert str(wide) == "550 5.7.1 <b@b\u00fccher.example>: not from here"


def test_a_route_that_refuses_all_leaves_postmaster_reachable(config: Config) -> None:
    """Section 4.5.1; a smarthost's "*" is about other people's domains, and literals among them."""
    bound = policy(replace(config, routes={"*": Route((), error="5.7.1 no mail leaves this host")}))
    assert route(bound, LOCAL, "postmaster") == OPS
    for rcpt in ("b@example.net", "b@[192.0.2.7]"):
        assert str(route(bound, LOCAL, rcpt)) == f"550 5.7.1 <{rcpt}>: no mail leaves this host"


def test_the_networks_of_the_configuration_decide(config: Config) -> None:
    """Of both versions; a network of one version says nothing of the other."""
    allow = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))
    bound = policy(replace(config, relay=replace(config.relay, allow=allow)))
    peers = {client: bound.peer(client, 1).may_relay for client in ("10.1.2.3", "2001:db8:1::9", "2001:db8:2::9")}
    assert peers == {"10.1.2.3": True, "2001:db8:1::9": True, "2001:db8:2::9": False}
    assert not bound.peer(LOCAL, 1).may_relay


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("192.0.2.1", IPv4Address("192.0.2.1")),
        ("::ffff:192.0.2.1", IPv4Address("192.0.2.1")),
        ("fe80::1%eth0", IPv6Address("fe80::1")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
    ],
)
def test_an_address_is_read_as_sockets_say_it(said: str, address: IP) -> None:
    """Without the zone, and IPv4 as IPv4."""
    assert address_of(said) == address


def test_a_peer_is_written_with_its_port(config: Config) -> None:
    """As the log and the envelope have it."""
    assert str(policy(config).peer("192.0.2.1", 25)) == "[192.0.2.1]:25"
    assert str(policy(config).peer("fe80::1%eth0", 25)) == "[fe80::1]:25"


def test_a_host_that_comes_again_is_known_by_its_new_port(config: Config) -> None:
    """What was found out of the host stands; each connection has a port of its own."""
    bound = policy(config)
    first, again = bound.peer(LOCAL, 1), bound.peer(LOCAL, 2)
    assert (str(first), str(again)) == ("[127.0.0.1]:1", "[127.0.0.1]:2")
    assert again == Peer.of(ip_address(LOCAL), 2, may_relay=True)


def test_of_hosts_without_end_no_more_than_some_are_remembered(config: Config) -> None:
    """An IPv6 network has more than memory has; who was forgotten is looked at again."""
    bound = policy(config)
    for number in range(5_000):
        assert not bound.peer(f"2001:db8::{number:x}", 1).may_relay
    assert len(bound._known) <= 512
    assert bound.peer(LOCAL, 1).may_relay
