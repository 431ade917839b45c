"""Inherited sockets: listeners that the service manager bound and passed on (LISTEN_FDS, as systemd does it).

The protocol is that of sd_listen_fds(3): descriptors from 3 on, a number, the pid that they are for, names for
people. Each socket must be one of the configured listeners, and each listener must have one, so that nobody
listens where the configuration does not say so. Refuses to bind. Fails with StartFailed.
"""

import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from relayd.base.bound import Bound
from relayd.base.sections import IP, Listener
from relayd.master.listeners import shown
from relayd.master.trouble import StartFailed

_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

Place = tuple[IP, int]
# More is a mistake: each has to be a listener of the configuration.
_DIGITS = 4
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Passed:
    """A descriptor, and what the service manager calls it."""

    fd: int
    name: str = ""

    def __str__(self) -> str:
        return f"descriptor {self.fd}" + (f" ({self.name})" if self.name else "")


def passed(environment: MutableMapping[str, str], pid: int) -> list[Passed]:
    """What was passed to the process of this pid; the variables are taken away, so that no child believes them."""
    whose, count, names = (environment.pop(name, "") for name in _VARIABLES)
    if whose != str(pid):
        return []
    if not (count.isascii() and count.isdigit() and len(count) < _DIGITS):
        raise StartFailed(f'LISTEN_FDS = "{count[:_SHOWN]}": not a number of sockets')
    each = names.split(":")
    each += [""] * int(count)
    return [Passed(_FIRST + number, each[number]) for number in range(int(count))]


def take(listeners: Sequence[Listener], found: Sequence[Passed]) -> list[Bound]:
    """The sockets in the order of the listeners, each with its own; they are no longer passed to children."""
    sockets: list[tuple[Passed, socket.socket]] = []
    try:
        for one in found:
            sockets.append((one, _socket(one)))
        return _matched([(each, _places(each)) for each in listeners], sockets)
    except BaseException:
        for _, taken in sockets:
            taken.close()
        raise


def _matched(
    wanted: Sequence[tuple[Listener, set[Place]]], sockets: Sequence[tuple[Passed, socket.socket]]
) -> list[Bound]:
    places = [_place(each.getsockname()) for _, each in sockets]
    known = set().union(*(allowed for _, allowed in wanted))
    for (one, _), place in zip(sockets, places, strict=True):
        at = shown(str(place[0]), place[1])
        if place not in known:
            configured = ", ".join(shown(each.address, each.port) for each, _ in wanted)
            raise StartFailed(f"{one} listens at {at}, where no [[listener]] is (configured: {configured})")
        if places.count(place) > 1:
            raise StartFailed(f"{one} listens at {at}, as another one does that was passed")
    bound: list[Bound] = []
    for listener, allowed in wanted:
        own = [each for (_, each), place in zip(sockets, places, strict=True) if place in allowed]
        at = shown(listener.address, listener.port)
        if not own:
            raise StartFailed(f"no socket was passed for the [[listener]] at {at}; all are passed, or none")
        if any(each.socket in own for each in bound):
            raise StartFailed(f"cannot listen at {at}: the port is taken by another [[listener]]")
        bound += [Bound(each, listener) for each in own]
    return bound


def _socket(one: Passed) -> socket.socket:
    try:
        os.set_inheritable(one.fd, False)
        found = socket.socket(fileno=one.fd)
    except OSError as error:
        raise StartFailed(f"{one} was passed as a socket and is none: {error.strerror or error}") from None
    try:
        if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
            raise StartFailed(f"{one} is no socket for TCP")
        if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise StartFailed(f"{one} does not listen (systemd: ListenStream=, and Accept=no)")
        if found.family == socket.AF_INET6 and not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            raise StartFailed(f"{one} listens for IPv4 too (systemd: BindIPv6Only=ipv6-only, and a line for each)")
        found.setblocking(False)
    except BaseException:
        found.close()
        raise
    return found


def _places(listener: Listener) -> set[Place]:
    try:
        found = socket.getaddrinfo(
            listener.address, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise StartFailed(f"cannot listen at {listener.address}: {error.strerror or error}") from None
    return {_place(address) for *_, address in found}


def _place(address: Sequence[object]) -> Place:
    return ip_address(str(address[0]).partition("%")[0]), int(str(address[1]))
