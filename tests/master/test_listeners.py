"""Binding: names, families, taken ports, and what leads to us."""

import socket
from ipaddress import ip_address

import pytest

from relayd.base.sections import Listener
from relayd.master.listeners import bind, close, endpoints, in_words, shown
from relayd.master.trouble import StartFailed


def test_a_listener_answers_at_its_address_and_port() -> None:
    """Port 0 is a free one; the socket is not blocking, since several workers accept from it."""
    bound = bind([Listener("127.0.0.1", 0)])
    host, port = bound[0].socket.getsockname()
    with socket.create_connection((host, port), 5):
        assert not bound[0].socket.getblocking()
    assert in_words(bound) == f"127.0.0.1:{port}"
    close(bound)


def test_a_name_gives_a_listener_for_each_of_its_addresses() -> None:
    """localhost is 127.0.0.1 at least; an address of a family that is missing here is no failure."""
    bound = bind([Listener("localhost", 0)])
    assert "127.0.0.1" in {each.socket.getsockname()[0] for each in bound}
    close(bound)


def test_a_taken_port_is_named_and_the_others_are_given_back() -> None:
    """One line with address and port; the listener that was bound before is free again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        first = bind([Listener("127.0.0.1", 0)])
        free = first[0].socket.getsockname()[1]
        close(first)
        with pytest.raises(StartFailed, match=rf"cannot listen at 127\.0\.0\.1:{taken}: the port is taken"):
            bind([Listener("127.0.0.1", free), Listener("127.0.0.1", taken)])
        close(bind([Listener("127.0.0.1", free)]))


def test_a_port_that_two_listeners_name_is_not_called_somebody_elses() -> None:
    """A name and an address that is one of its own."""
    first = bind([Listener("127.0.0.1", 0)])
    free = first[0].socket.getsockname()[1]
    close(first)
    with pytest.raises(StartFailed, match=r"taken by another \[\[listener\]\]"):
        bind([Listener("127.0.0.1", free), Listener("localhost", free)])


def test_an_address_of_another_host_is_named() -> None:
    """EADDRNOTAVAIL in words."""
    with pytest.raises(StartFailed, match=r"192\.0\.2\.1:0: no interface of this host has that address"):
        bind([Listener("192.0.2.1", 0)])


def test_a_name_that_does_not_exist_is_named() -> None:
    """The resolver's own reason."""
    with pytest.raises(StartFailed, match=r"cannot listen at nowhere\.invalid: "):
        bind([Listener("nowhere.invalid", 0)])


def test_the_wildcard_stands_for_every_address_of_this_host() -> None:
    """What is delivered to any of them would come back to us."""
    bound = bind([Listener("0.0.0.0", 0)])
    port = bound[0].socket.getsockname()[1]
    found = endpoints(bound)
    assert {(ip_address("0.0.0.0"), port), (ip_address("127.0.0.1"), port)} <= found
    assert not any(address.version == 6 for address, _ in found)
    close(bound)


def test_an_ipv6_place_is_shown_in_brackets() -> None:
    """So that the port can be told from the address."""
    assert shown("::1", 25) == "[::1]:25"
    assert shown("127.0.0.1", 25) == "127.0.0.1:25"
