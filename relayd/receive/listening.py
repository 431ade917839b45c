"""Listening: the sockets that one worker accepts from, from its first client to its last.

They stay open for others when this worker closes them. Refuses to know what a session is. A listener that died is
not mended here; whoever asks is told.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence

from relayd.base.bound import Bound
from relayd.base.sections import Listener

# Connections that wait in the kernel; it cuts this down to net.core.somaxconn.
_WAITING = 4096
# From the accept of a connection to its session.
_TURNS = 10


class Listening:
    """`protocol` makes what serves a connection; `settled` is called when nobody more will come."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[Bound],
        protocol: Callable[[Listener], Callable[[], asyncio.Protocol]],
        settled: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._listeners = listeners
        self._protocol = protocol
        self._settled = settled
        self._servers: list[asyncio.Server] = []
        self.is_closing = False
        # Whatever was accepted is a session by now.
        self.is_settled = False

    async def open(self) -> None:
        """Accept connections."""
        # asyncio calls accept as often in a row as its backlog says, also when no descriptor is left, and then
        # comes back for each failure.
        backlog = 1 if self._is_plain else _WAITING
        for each in self._listeners:
            made = self._protocol(each.listener)
            self._servers.append(await self._loop.create_server(made, sock=each.socket, backlog=backlog))
            each.socket.listen(_WAITING)

    @property
    def _is_plain(self) -> bool:
        """Whether the loop is asyncio's own."""
        return isinstance(self._loop, asyncio.SelectorEventLoop)

    def has_died(self) -> bool:
        """Whether one is closed that should not be: uvloop does that without a word when accept fails oddly."""
        return not self.is_closing and not all(_listens(each.socket) for each in self._listeners)

    def close(self) -> None:
        """Accept no more; what was accepted already becomes a session within a few turns, and is not cut off."""
        if self.is_closing:
            return
        self.is_closing = True
        if self._is_plain:
            # It drops what it has accepted for a server that is closed before the session is made.
            for each in self._listeners:
                if each.socket.fileno() >= 0:
                    self._loop.remove_reader(each.socket)
        else:
            self._close_servers()
        self._turn(_TURNS)

    def _turn(self, left: int) -> None:
        if left:
            self._loop.call_soon(self._turn, left - 1)
            return
        self._close_servers()
        self.is_settled = True
        self._settled()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()


def _listens(listener: socket.socket) -> bool:
    return listener.fileno() >= 0 and bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
