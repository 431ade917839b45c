"""A connection: one client's socket and its session machine, as the worker's event loop sees them.

It carries bytes between the two, reads only as fast as verdicts can be given, and knows when a session has to
end. It decides nothing about mail: its reception does. Whatever goes wrong here ends this session and no other.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from relayd.base.sections import IP
from relayd.receive.policy import Peer, address_of
from relayd.receive.reception import Reception
from relayd.receive.service import Service
from relayd.smtp.reply import reply
from relayd.smtp.server import Facts, Session, State
from relayd.smtp.wording import BYE

# So long a client may take to read its last replies once we have closed.
_LAST_REPLIES_SECONDS = 30.0
_BYE = bytes(BYE)


class Connection(asyncio.Protocol):
    """One session."""

    __slots__ = (
        "_began",
        "_has_ended",
        "_heard",
        "_is_cut",
        "_is_lost",
        "_is_open",
        "_is_reading",
        "_is_unread",
        "_peer",
        "_reason",
        "_reception",
        "_service",
        "_session",
        "_transport",
    )

    _transport: asyncio.Transport
    _peer: Peer
    _session: Session
    _reception: Reception
    _began: float

    def __init__(self, service: Service) -> None:
        self._service = service
        # When something last came of it that the session has to wait for: a reply said, or mail data.
        self._heard = 0.0
        self._reason = ""
        self._is_open = False
        self._is_reading = True
        # The client does not read its replies.
        self._is_unread = False
        # It has said all that it will say.
        self._has_ended = False
        self._is_lost = False
        self._is_cut = False

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: greet it."""
        self._transport = cast(asyncio.Transport, transport)
        # Neither event loop closes the socket of a connection that fails here.
        try:
            self._open()
        except Exception as error:
            self._broken(error)

    def data_received(self, data: bytes) -> None:
        """The client said something."""
        if not self._is_open:
            return
        self._session.feed(data)
        if self._reception.is_busy:
            # It does not wait for its verdict: this much is kept, and no more is read until then. For the others
            # this saves two system calls a message.
            self._read(False)
        else:
            self._go_on()

    def eof_received(self) -> bool:
        """The client says no more; it may still wait for our replies."""
        self._has_ended = True
        self._reason = self._reason or "client closed"
        return self._is_open and self._reception.is_busy

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._is_lost = True
        if self._is_open and not self._reception.is_busy:
            self._finish()

    def pause_writing(self) -> None:
        """The client does not read its replies: it is not read either."""
        self._is_unread = True
        self._read(False)

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_unread = False
        self._heard = self._service.loop.time()
        if self._is_open and not self._reception.is_busy:
            self._go_on()

    # Called by the service.

    @property
    def is_busy(self) -> bool:
        """Whether a thread has the session's draft, so that neither can be given up."""
        return self._reception.is_busy

    def sweep(self, now: float, timeout: float) -> None:
        """End a session that nothing has come of for `timeout` seconds (section 4.5.3.2.7).

        Octets of a command that does not end count for nothing, nor do replies that the client does not read.
        """
        if self._is_lost or self._reception.is_busy:
            return
        if self._transport.is_closing():
            if now - self._heard >= _LAST_REPLIES_SECONDS:
                self._transport.abort()
        elif now - self._heard >= timeout or self._reception.dribbles(now, timeout):
            self._reason = "timeout"
            self._session.time_out()
            self._flush()

    def retire(self, *, at_once: bool) -> None:
        """The service ends: 421 now, or as soon as no transaction runs.

        Even at once it waits for a verdict that is owed: after a 421 in its place the client would send again
        what we deliver.
        """
        self._is_cut = self._is_cut or at_once
        if not self._is_lost and not self._reception.is_busy:
            self._go_on()

    def abandon(self) -> None:
        """The process ends; only a draft that a thread has stays, for the sweep of tmp/."""
        self._transport.abort()
        if not self._reception.is_busy:
            self._finish()

    # The session.

    def _open(self) -> None:
        service, transport = self._service, self._transport
        name = transport.get_extra_info("peername")
        if name is None:
            # It was reset before we came to it.
            transport.abort()
            return
        if not service.has_room:
            service.record.session_refused("too many sessions for the limit on open files")
            transport.write(bytes(reply(421, "4.3.2", f"{service.config.hostname} Error: too many connections")))
            transport.close()
            return
        settings = service.config.session
        self._peer = peer = service.policy.peer(name[0], name[1])
        self._session = Session(
            Facts(
                hostname=service.config.hostname,
                version=service.version,
                client_port=peer.port,
                extended=settings.extended,
                maximum_message=settings.maximum_message,
                maximum_recipients=settings.maximum_recipients,
                normalize=settings.bare_newline == "normalize" and peer.may_relay,
            )
        )
        session_id = service.ids.next()
        self._reception = Reception(service, self._session, session_id, peer, self._reached, self._resume)
        self._began = service.loop.time()
        self._is_open = True
        service.record.session_opened(session_id, peer, service.opened(self))
        self._go_on()

    def _reached(self) -> IP | None:
        name = self._transport.get_extra_info("sockname")
        return None if name is None else address_of(name[0])

    def _resume(self, step: Callable[[], None]) -> None:
        """Go on after a wait, with what became possible then."""
        try:
            step()
        except Exception as error:
            self._broken(error)
        if not self._is_lost:
            self._go_on()
        elif not self._reception.is_busy:
            self._finish()

    def _go_on(self) -> None:
        """Read on as far as verdicts can be given now, and send what there is to say."""
        try:
            while not self._reception.is_busy:
                event = self._session.next_event()
                if self._must_leave():
                    # Nothing is lost with an event that has no verdict yet: a draft is no message before that.
                    self._leave()
                    break
                if event is None:
                    break
                self._reception.judge(event)
            self._flush()
        except Exception as error:
            self._broken(error)

    def _must_leave(self) -> bool:
        return self._service.is_retiring and (self._is_cut or self._session.transaction is None)

    def _leave(self) -> None:
        if self._session.state is not State.CLOSED:
            self._reason = "shutdown"
            self._session.shut_down()

    def _flush(self) -> None:
        """Send the replies of this turn in one write, then close or read on."""
        if self._transport.is_closing():
            return
        state = self._session.state
        replies = self._session.output()
        if replies:
            self._transport.write(replies)
        if replies or state is State.DATA:
            self._heard = self._service.loop.time()
        if state is State.CLOSED:
            self._reason = self._reason or ("quit" if replies.endswith(_BYE) else "too many errors")
            self._transport.close()
        elif not self._reception.is_busy:
            if self._has_ended:
                self._transport.close()
            else:
                self._read(not self._is_unread)

    def _read(self, wanted: bool) -> None:
        if wanted is self._is_reading or self._has_ended or self._transport.is_closing():
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _broken(self, error: Exception) -> None:
        """A defect of ours: what was said already still goes out, a 250 above all, then 421 and the end."""
        self._service.record.bug("session", error)
        self._reason = "internal error"
        try:
            self._session.shut_down()
            self._flush()
        except Exception:
            self._transport.abort()

    def _finish(self) -> None:
        """Nothing of the session is left but what to write down."""
        if self._is_open:
            self._is_open = False
            self._reception.drop()
            self._service.record.session_closed(
                self._reception.id,
                self._peer,
                self._service.closed(self),
                messages=self._reception.messages,
                seconds=self._service.loop.time() - self._began,
                reason=self._reason or "connection lost",
            )
