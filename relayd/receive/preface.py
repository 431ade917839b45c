"""A preface: what a proxy says of its client before anything else, read until the session can begin.

It is the protocol of a connection to a listener that asks for the PROXY protocol, until the header is whole; then
the session takes its place. Only a trusted network's word counts: everyone else is closed at once, and so is who
says something else or takes longer than a session's timeout.
"""

import asyncio
from typing import cast

from relayd.base.sections import Listener
from relayd.receive import proxy
from relayd.receive.connection import Connection
from relayd.receive.entrance import Introduced
from relayd.receive.policy import Peer, address_of, is_within, unmapped
from relayd.receive.service import Service

# A proxy has it ready when it connects.
_PATIENCE_SECONDS = 60.0


class Preface(asyncio.Protocol):
    """One."""

    __slots__ = ("_began", "_is_over", "_listener", "_octets", "_proxy", "_service", "_transport")

    _transport: asyncio.Transport
    _proxy: Peer

    def __init__(self, service: Service, listener: Listener) -> None:
        self._service = service
        self._listener = listener
        self._octets = b""
        self._began = service.loop.time()
        self._is_over = False

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A proxy is there, or somebody else."""
        service = self._service
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        if name is None:
            self._transport.abort()
            return
        address = address_of(name[0])
        # What it may is for the header to say, and without a name it may nothing.
        self._proxy = Peer.of(address, name[1], may_relay=False)
        if not is_within(address, self._listener.trusted):
            self._turn_away("not a trusted proxy")
        elif service.is_retiring:
            self._transport.close()
        elif service.door.is_full(service.open_sessions):
            self._turn_away(service.door.full().reason)
        else:
            service.opened(self)

    def data_received(self, data: bytes) -> None:
        """The header, or a part of it."""
        if self._transport.is_closing():
            return
        self._octets += data
        try:
            found = proxy.parse(self._octets)
        except proxy.NotAHeader as error:
            self._turn_away(str(error))
            return
        if found is not None:
            self._hand_over(*found)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._end()

    # Called by the service.

    def sweep(self, now: float, timeout: float) -> None:
        """End one that does not come to its point."""
        if now - self._began >= min(timeout, _PATIENCE_SECONDS):
            self._turn_away("no header of the PROXY protocol in time")

    def retire(self, *, at_once: bool) -> None:
        """Nothing is owed to it."""
        self.abandon()

    def abandon(self) -> None:
        """Close it."""
        self._transport.abort()
        self._end()

    def _turn_away(self, reason: str) -> None:
        self._service.record.session_refused(reason, self._proxy)
        self.abandon()

    def _hand_over(self, header: proxy.Header, rest: bytes) -> None:
        peer, reached = self._proxy, None
        if header.source is not None:
            peer = self._service.policy.peer(str(header.source.address), header.source.port)
        if header.destination is not None:
            reached = unmapped(header.destination.address)
        session = Connection(self._service, self._listener, Introduced(peer, reached, bool(rest)))
        self._transport.set_protocol(session)
        session.connection_made(self._transport)
        # Not before: a service that retires ends when nobody is left.
        self._end()
        if rest and not self._transport.is_closing():
            # It may be the protocol of TLS by now.
            cast(asyncio.Protocol, self._transport.get_protocol()).data_received(rest)

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._service.closed(self)
