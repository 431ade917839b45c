"""The entrance: who a connection comes from, and whether the door lets it in."""

import asyncio
from typing import NamedTuple

from relayd.base.sections import IP, Listener
from relayd.receive.policy import Peer
from relayd.receive.service import Service


class Introduced(NamedTuple):
    """What a proxy said: its client, the address that this one wanted, and whether it has spoken already."""

    peer: Peer
    reached: IP | None
    spoke: bool


def admit(
    service: Service, listener: Listener, transport: asyncio.Transport, introduced: Introduced | None
) -> Peer | None:
    """The client, or None when it does not get in: then the transport is closed."""
    name = transport.get_extra_info("peername")
    if name is None:
        # It was reset before we came to it.
        transport.abort()
        return None
    peer = service.policy.peer(name[0], name[1]) if introduced is None else introduced.peer
    refusal = service.door.refusal(peer, service.open_sessions)
    if refusal is None:
        return peer
    service.record.session_refused(refusal.reason, peer)
    if listener.tls != "implicit":
        transport.write(bytes(refusal.reply))
    transport.close()
    return None
