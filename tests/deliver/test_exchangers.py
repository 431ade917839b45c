"""Exchangers: which of a domain's addresses may be tried, by the rules of RFC 5321 section 5.1."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

import pytest

from relayd.deliver.exchangers import (
    MAXIMUM_EXCHANGERS,
    Candidate,
    Exchanger,
    Family,
    Ourselves,
    better_than_ours,
    nearest,
    plain,
    select,
)
from relayd.smtp.reply import Reply

NOBODY = Ourselves("relay.example.org", frozenset())


def candidate(address: str, preference: int = 10, name: str = "mx.example.net", port: int = 25) -> Candidate:
    """A candidate at an address."""
    return Candidate(preference, name, ip_address(address), port)


def listening(*endpoints: tuple[str, int], name: str = "relay.example.org", own: Sequence[str] = ()) -> Ourselves:
    """This host, with listeners and addresses of its own."""
    return Ourselves(
        name,
        frozenset((ip_address(address), port) for address, port in endpoints),
        frozenset(map(ip_address, own)),
    )


def refusal(answer: object) -> str:
    """The reply that it must be, as a line."""
    assert isinstance(answer, Reply)
    return str(answer)


def test_the_best_preference_comes_first() -> None:
    """Whatever the order of the records."""
    found = [candidate("198.51.100.2", 20), candidate("198.51.100.1", 10), candidate("198.51.100.3", 30)]
    chosen = select(found, NOBODY, allow_private=True)
    assert not isinstance(chosen, Reply)
    assert [each.preference for each in chosen] == [10, 20, 30]


def test_we_and_all_that_are_no_better_are_left_out() -> None:
    """The one of our preference too: it would give the mail back to us."""
    us = listening(("8.8.8.8", 25))
    found = [candidate("9.9.9.1", 5), candidate("9.9.9.2", 10), candidate("8.8.8.8", 10), candidate("9.9.9.3", 20)]
    assert select(found, us) == [candidate("9.9.9.1", 5)]


def test_being_the_best_exchanger_ourselves_is_a_loop() -> None:
    """Nothing better is left: the mail would only go round."""
    us = listening(("8.8.8.8", 25))
    assert refusal(select([candidate("8.8.8.8", 10), candidate("9.9.9.9", 10)], us)).startswith("554 5.4.6 ")


def test_we_are_known_by_address_and_port_together() -> None:
    """Another program on this host, at another port, is another exchanger."""
    us = listening(("8.8.8.8", 2525))
    assert select([candidate("8.8.8.8", port=25)], us) == [candidate("8.8.8.8", port=25)]
    assert isinstance(select([candidate("8.8.8.8", port=2525)], us), Reply)


def test_own_addresses_are_ours_at_every_port() -> None:
    """Behind NAT no listener has the address that the world sees."""
    us = listening(("10.0.0.5", 2525), own=["8.8.8.8"])
    assert refusal(select([candidate("8.8.8.8")], us)).startswith("554 5.4.6 ")


def test_we_are_known_by_our_name_where_we_listen_at_the_delivery_port() -> None:
    """The address may be another one of this host, or that of a balancer before it."""
    found = [candidate("9.9.9.9", name="relay.example.org")]
    assert isinstance(select(found, listening(("10.0.0.5", 25))), Reply)
    assert select(found, listening(("10.0.0.5", 2525))) == found


def test_a_wildcard_listener_is_every_loopback_address() -> None:
    """The kernel takes all of 127.0.0.0/8, which no list of interfaces has."""
    us = listening(("0.0.0.0", 25))
    assert isinstance(select([candidate("127.0.0.77")], us, allow_private=True), Reply)
    assert select([candidate("127.0.0.77", port=26)], us, allow_private=True) == [candidate("127.0.0.77", port=26)]


def test_we_are_discarded_before_private_addresses_are_skipped() -> None:
    """Our own address may be private, and what is no better than we must not be tried for that."""
    us = listening(("10.0.0.5", 25))
    found = [candidate("10.0.0.5", 10), candidate("9.9.9.9", 20)]
    assert refusal(select(found, us)).startswith("554 5.4.6 ")


def test_we_are_known_by_name_before_any_address_is() -> None:
    """The look-up of our own name may fail, and the worse exchangers must not be tried for that."""
    us = listening(("10.0.0.5", 25))
    first, ours, last = Exchanger(5, "a.test"), Exchanger(10, "relay.example.org"), Exchanger(20, "b.test")
    assert better_than_ours([first, ours, last], us, 25) == [first]
    assert better_than_ours([first, last], us, 25) == [first, last]
    assert refusal(better_than_ours([ours, last], us, 25)).startswith("554 5.4.6 ")


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "127.0.0.1", "169.254.1.1", "192.168.0.1", "100.64.0.1", "::1", "fe80::1", "fd00::1"]
)
def test_private_and_loopback_addresses_are_skipped(address: str) -> None:
    """DNS is anybody's: it must not lead us into our own network, unless the operator says so."""
    found = [candidate(address), candidate("9.9.9.9")]
    assert select(found, NOBODY) == [candidate("9.9.9.9")]
    assert "delivery.private_exchangers" in refusal(select([candidate(address)], NOBODY))
    assert select([candidate(address)], NOBODY, allow_private=True) == [candidate(address)]


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::9.9.9.9", True),
        ("::ffff:0:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("2002:a00:1::1", False),
        ("2002:909:909::1", True),
        ("64:ff9b:1::1", False),
        ("fec0::1", False),
        ("2620:fe::fe", True),
    ],
)
def test_a_private_address_inside_of_another_is_private(address: str, is_public: bool) -> None:
    """A translator or a tunnel on the way would lead to it (RFC 6052, RFC 3056)."""
    chosen = select([candidate(address)], NOBODY)
    assert isinstance(chosen, list) is is_public
    assert is_public or "delivery.private_exchangers" in refusal(chosen)


def test_an_address_in_an_mx_record_is_skipped() -> None:
    """RFC 5321 section 5.1 wants a name; the operator may allow it, and a recipient's literal is no MX record."""
    bare, named = candidate("9.9.9.9", name="9.9.9.9"), candidate("9.9.9.9", name="[9.9.9.9]")
    assert refusal(select([bare], NOBODY)) == (
        "550 5.4.4 all exchangers have addresses instead of names; delivery.private_exchangers = true allows them"
    )
    assert select([bare], NOBODY, allow_private=True) == [bare]
    assert select([bare, named], NOBODY) == [named]


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1"])
def test_what_no_host_has_is_never_tried(address: str) -> None:
    """0.0.0.0 would connect to this host itself."""
    assert refusal(select([candidate(address)], NOBODY, allow_private=True)).startswith("550 5.4.4 ")


def test_an_ipv4_address_written_as_ipv6_is_one() -> None:
    """So that ::ffff:127.0.0.1 does not pass for somebody else."""
    assert plain(ip_address("::ffff:127.0.0.1")) == ip_address("127.0.0.1")
    assert plain(IPv6Address("2001:db8::1")) == IPv6Address("2001:db8::1")


@pytest.mark.parametrize(("family", "left"), [("4", "9.9.9.9"), ("6", "2620:fe::fe")])
def test_only_the_wanted_family_is_tried(family: Family, left: str) -> None:
    """delivery.ip says which; when nothing is left, the reply names the key."""
    found = [candidate("9.9.9.9"), candidate("2620:fe::fe")]
    assert select(found, NOBODY, family=family) == [candidate(left)]
    other = [each for each in found if each.address != ip_address(left)]
    assert 'delivery.ip = "' in refusal(select(other, NOBODY, family=family))


def test_a_name_listed_twice_is_one_exchanger() -> None:
    """With its better preference."""
    records = [Exchanger(20, "a.test"), Exchanger(10, "a.test"), Exchanger(15, "b.test")]
    assert nearest(records) == (Exchanger(10, "a.test"), Exchanger(15, "b.test"))


def test_of_a_thousand_exchangers_the_best_are_kept() -> None:
    """A hostile zone costs no more than a bounded number of look-ups."""
    records = [Exchanger(1000 - number, f"mx{number}.test") for number in range(1000)]
    kept = nearest(records)
    assert len(kept) == MAXIMUM_EXCHANGERS
    assert kept[0] == Exchanger(1, "mx999.test")


def test_a_candidate_is_written_with_its_port() -> None:
    """IPv6 in brackets."""
    assert str(candidate("9.9.9.9")) == "9.9.9.9:25"
    assert str(candidate("2620:fe::fe", port=2525)) == "[2620:fe::fe]:2525"
