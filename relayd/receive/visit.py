"""A visit: one session as it is counted and written down, from the door to its end.

It says who the client is, and which address of ours it has reached. Refuses to know what is said.
"""

import asyncio

from relayd.base.sections import IP
from relayd.receive.entrance import Introduced
from relayd.receive.policy import Peer, address_of
from relayd.receive.service import Served, Service


class Visit:
    """One client's; it begins when it is made."""

    __slots__ = ("_began", "_introduced", "_service", "id", "peer")

    def __init__(self, service: Service, session: Served, peer: Peer, introduced: Introduced | None) -> None:
        self._service = service
        self._introduced = introduced
        self._began = service.loop.time()
        self.id = service.ids.next()
        self.peer = peer
        service.door.opened(peer, self._began)
        service.record.session_opened(self.id, peer, service.opened(session))

    def reached(self, transport: asyncio.Transport) -> IP | None:
        """The address of ours that the client connected to, where it is known."""
        if self._introduced is not None:
            return self._introduced.reached
        name = transport.get_extra_info("sockname")
        return None if name is None else address_of(name[0])

    def secured(self, version: str, cipher: str) -> None:
        """TLS has begun."""
        self._service.record.tls_started(self.id, self.peer, version, cipher)

    def end(self, session: Served, *, messages: int, reason: str, in_handshake: bool) -> None:
        """Nothing of the session is left but this."""
        service = self._service
        service.door.closed(self.peer)
        if in_handshake:
            service.record.tls_failed(self.id, self.peer, reason)
        seconds = service.loop.time() - self._began
        service.record.session_closed(
            self.id, self.peer, service.closed(session), messages=messages, seconds=seconds, reason=reason
        )
