"""Listeners: the sockets that clients connect to, bound before privileges are dropped.

A host's name may stand for several addresses; each gets a socket. Refuses to accept anything. Fails with
StartFailed, whose line names the address, the port and, where the system tells, who has it.
"""

import errno
import os
import socket
import time
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import psutil

from relayd.base.bound import Bound
from relayd.base.sections import IP, Listener
from relayd.master.trouble import StartFailed

# The kernel cuts it down to net.core.somaxconn.
_BACKLOG = 4096
_STEP_SECONDS = 0.2


def bind(listeners: Sequence[Listener], patience: float = 0.0) -> list[Bound]:
    """Bind and listen; `patience` is how many seconds a port may stay taken by what a killed master left."""
    bound: list[Bound] = []
    deadline = time.monotonic() + patience
    try:
        for listener in listeners:
            bound += [Bound(each, listener) for each in _bind_all(listener, deadline)]
    except BaseException:
        close(bound)
        raise
    return bound


def close(bound: Sequence[Bound]) -> None:
    """Give the sockets back."""
    for each in bound:
        each.socket.close()


def endpoints(bound: Sequence[Bound]) -> frozenset[tuple[IP, int]]:
    """The addresses and ports that lead to these sockets; a wildcard stands for all of this host's addresses."""
    return reached_at(each.socket.getsockname()[:2] for each in bound)


def reached_at(places: Iterable[tuple[str, int]]) -> frozenset[tuple[IP, int]]:
    """The same for addresses and ports where sockets listen or would."""
    found: set[tuple[IP, int]] = set()
    for host, port in places:
        address = ip_address(host.partition("%")[0])
        found.add((address, port))
        if address.is_unspecified:
            found.update((own, port) for own in _interface_addresses() if own.version == address.version)
    return frozenset(found)


def in_words(bound: Sequence[Bound]) -> str:
    """Where clients connect, for people: "127.0.0.1:25, [::1]:25"."""
    return ", ".join(map(place, bound))


def place(bound: Bound) -> str:
    """Where clients connect to this one."""
    return shown(*bound.socket.getsockname()[:2])


def shown(host: str, port: int) -> str:
    """An address and a port as one word."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_all(listener: Listener, deadline: float) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            listener.address, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise StartFailed(f"cannot listen at {listener.address}: {error.strerror or error}") from None
    bound: list[socket.socket] = []
    absent: list[StartFailed] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound.append(_bind_one(socket.socket(family, kind, protocol), address, deadline))
        except OSError as error:
            failure = StartFailed(_explain(error, str(address[0]), int(address[1])))
            # A name may have an address of a family that this host does not speak; one that works is enough.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for each in bound:
                    each.close()
                raise failure from error
            absent.append(failure)
    if not bound:
        raise absent[0] if absent else StartFailed(f"cannot listen at {listener.address}: it has no address")
    return bound


def _bind_one(unbound: socket.socket, address: tuple[object, ...], deadline: float) -> socket.socket:
    try:
        unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if unbound.family == socket.AF_INET6:
            # Without this "::" would take IPv4 too, and "0.0.0.0" beside it would find the port taken.
            unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        while True:
            try:
                unbound.bind(address)
                unbound.listen(_BACKLOG)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                    raise
                time.sleep(_STEP_SECONDS)
        unbound.setblocking(False)
    except BaseException:
        unbound.close()
        raise
    return unbound


def _explain(error: OSError, host: str, port: int) -> str:
    place = shown(host, port)
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen at {place}: the port is taken{_taken_by(port)}"
    if error.errno == errno.EACCES:
        return f"cannot listen at {place}: only root may use ports below 1024; use sudo, or --port 2525"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen at {place}: no interface of this host has that address"
    return f"cannot listen at {place}: {error.strerror or os.strerror(error.errno or 0)}"


def _taken_by(port: int) -> str:
    try:
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                if each.pid == os.getpid():
                    return " by another [[listener]]"
                return f" by {psutil.Process(each.pid).name()} (pid {each.pid})"
    except (psutil.Error, OSError):
        pass
    return ""


def _interface_addresses() -> list[IPv4Address | IPv6Address]:
    families = (socket.AF_INET, socket.AF_INET6)
    return [
        ip_address(each.address.partition("%")[0])
        for found in psutil.net_if_addrs().values()
        for each in found
        if each.family in families
    ]
