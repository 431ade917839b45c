"""Inherited sockets: which of those that a service manager passes are believed, and what is said of the others."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from relayd.base.sections import Listener
from relayd.master.inherited import Passed, passed, take
from relayd.master.listeners import close
from relayd.master.trouble import StartFailed

VARIABLES = {"LISTEN_PID": "4711", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "smtp:submission"}


def test_descriptors_begin_at_3_and_have_names() -> None:
    """As sd_listen_fds(3) has it; the variables are gone, so that no child believes them."""
    environment = {**VARIABLES, "HOME": "/"}
    assert passed(environment, 4711) == [Passed(3, "smtp"), Passed(4, "submission")]
    assert environment == {"HOME": "/"}


def test_a_name_that_is_missing_is_no_trouble() -> None:
    """Names are for people."""
    assert passed({"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "smtp"}, 1) == [
        Passed(3, "smtp"),
        Passed(4),
    ]
    assert passed({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, 1) == [Passed(3)]


@pytest.mark.parametrize("whose", ["4712", "", "x"])
def test_what_is_for_another_process_is_not_taken(whose: str) -> None:
    """A variable that a shell in between has inherited; it is gone all the same."""
    environment = {**VARIABLES, "LISTEN_PID": whose}
    assert passed(environment, 4711) == []
    assert environment == {}


@pytest.mark.parametrize("count", ["", "-1", "x", "10000", "9" * 5000, "²"])
def test_a_number_of_sockets_that_is_none_is_an_error(count: str) -> None:
    """Rather than to bind what somebody else was to bind."""
    with pytest.raises(StartFailed, match="LISTEN_FDS"):
        passed({**VARIABLES, "LISTEN_FDS": count}, 4711)


def listening(host: str = "127.0.0.1", family: int = socket.AF_INET) -> socket.socket:
    """A socket as a service manager makes it."""
    made = socket.socket(family)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((host, 0))
    made.listen()
    return made


@contextmanager
def handed(made: socket.socket) -> Iterator[tuple[Passed, Listener]]:
    """Its descriptor, which `take` owns, and the listener that fits it."""
    host, port = made.getsockname()[:2]
    fd = made.detach()
    os.set_inheritable(fd, True)
    yield Passed(fd), Listener(host, port)


def is_open(fd: int) -> bool:
    """Whether the descriptor is one."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_sockets_come_in_the_order_of_the_listeners_and_go_to_no_child() -> None:
    """Each is matched by address and port, whatever the order in which it was passed."""
    with handed(listening()) as (first, a), handed(listening()) as (second, b):
        bound = take([b, a], [first, second])
        assert [(each.socket.fileno(), each.listener) for each in bound] == [(second.fd, b), (first.fd, a)]
        assert not any(os.get_inheritable(each.socket.fileno()) or each.socket.getblocking() for each in bound)
        close(bound)


def test_a_name_may_have_a_socket_for_each_of_its_addresses() -> None:
    """One is enough: "localhost" and a socket at 127.0.0.1."""
    with handed(listening()) as (one, listener):
        named = Listener("localhost", listener.port)
        bound = take([named], [one])
        assert [each.listener for each in bound] == [named]
        close(bound)


def test_a_socket_that_no_listener_names_is_an_error() -> None:
    """Nobody listens where the configuration does not say so; the line has the place, the name and the allowed."""
    with handed(listening()) as (one, listener):
        other = Listener("127.0.0.1", listener.port ^ 1)
        named = Passed(one.fd, "smtp")
        with pytest.raises(
            StartFailed,
            match=rf"descriptor {one.fd} \(smtp\) listens at 127\.0\.0\.1:{listener.port}, where no "
            rf"\[\[listener\]\] is \(configured: 127\.0\.0\.1:{other.port}\)",
        ):
            take([other], [named])
        assert not is_open(one.fd)


def test_a_listener_without_a_socket_is_an_error() -> None:
    """When some are passed, all must be."""
    with handed(listening()) as (one, listener):
        with pytest.raises(StartFailed, match=r"no socket was passed for the \[\[listener\]\] at 127\.0\.0\.1:9"):
            take([listener, Listener("127.0.0.1", 9)], [one])
        assert not is_open(one.fd)


def test_the_same_place_twice_is_an_error() -> None:
    """Two descriptors of one socket."""
    with handed(listening()) as (one, listener):
        again = Passed(os.dup(one.fd))
        with pytest.raises(StartFailed, match="as another one does"):
            take([listener], [one, again])


def test_a_socket_that_two_listeners_name_is_an_error() -> None:
    """As it is where they are bound: one of them would have no word."""
    with handed(listening()) as (one, listener):
        with pytest.raises(StartFailed, match="taken by another"):
            take([listener, Listener("localhost", listener.port)], [one])
        assert not is_open(one.fd)


def silent() -> socket.socket:
    """Bound, and nobody listens."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


def datagrams() -> socket.socket:
    """UDP."""
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def both_versions() -> socket.socket:
    """What systemd makes of a port without an address."""
    made = socket.socket(socket.AF_INET6)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", 0))
    made.listen()
    return made


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (silent, "does not listen"),
        (datagrams, "no socket for TCP"),
        (lambda: socket.socket(socket.AF_UNIX), "no socket for TCP"),
        (both_versions, "BindIPv6Only=ipv6-only"),
    ],
)
def test_a_socket_of_another_kind_is_named(make: Callable[[], socket.socket], says: str) -> None:
    """With what to write instead."""
    fd = make().detach()
    with pytest.raises(StartFailed, match=says):
        take([Listener("127.0.0.1", 25)], [Passed(fd)])
    assert not is_open(fd)


def test_a_descriptor_that_is_no_socket_or_none_at_all_is_named() -> None:
    """A file, and a number that nothing is behind."""
    fd = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(StartFailed, match="passed as a socket and is none"):
        take([Listener("127.0.0.1", 25)], [Passed(fd)])
    os.close(fd)
    with pytest.raises(StartFailed, match="passed as a socket and is none"):
        take([Listener("127.0.0.1", 25)], [Passed(fd)])
