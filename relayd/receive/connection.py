"""A connection: one client's socket and its session machine, as the worker's event loop sees them.

It carries bytes between the two, through TLS where it has begun, reads only as fast as verdicts can be given, and
knows when a session has to end. It decides nothing about mail: its reception does. Whatever goes wrong here ends
this session and no other.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar, cast

from relayd.base.sections import IP, Listener
from relayd.base.secured import Secured
from relayd.base.tls import Codec
from relayd.receive.early import spoke_early
from relayd.receive.entrance import Introduced, admit
from relayd.receive.facts import facts_of
from relayd.receive.reception import Reception
from relayd.receive.service import Service
from relayd.receive.visit import Visit
from relayd.smtp.facts import CLOSED, DATA, TLS
from relayd.smtp.reply import Reply
from relayd.smtp.server import Session
from relayd.smtp.wording import BYE

R = TypeVar("R")

# So long a client may take to read its last replies once we have closed.
_LAST_REPLIES_SECONDS = 30.0
# So many replies are sent before the session goes on: a client may ask for many megabytes of them in one segment,
# and whether it reads any shows only when they are sent.
_REPLIES_AT_ONCE = 100
# So long a handshake may take, at most.
_HANDSHAKE_SECONDS = 60.0


class Connection(asyncio.Protocol):
    """One session; `introduced` where it came through a proxy."""

    __slots__ = (
        "_has_ended",
        "_heard",
        "_introduced",
        "_is_cut",
        "_is_lost",
        "_is_open",
        "_is_reading",
        "_is_shaking",
        "_is_unread",
        "_listener",
        "_reason",
        "_reception",
        "_service",
        "_session",
        "_transport",
        "_visit",
    )

    _transport: asyncio.Transport
    _session: Session
    _reception: Reception
    _visit: Visit

    def __init__(self, service: Service, listener: Listener, introduced: Introduced | None = None) -> None:
        self._service = service
        self._listener = listener
        self._introduced = introduced
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
        # A handshake of TLS has begun and is not done: nothing can be said.
        self._is_shaking = False

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
        self._reception.heard(len(data))
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
        return self._is_open and (self._reception.is_busy or self._is_held_up)

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

    # Called by TLS.

    def secured(self, version: str, cipher: str, *, spoke: bool) -> None:
        """The handshake is done."""
        if not self._is_open:
            return
        self._is_shaking = False
        self._heard = self._service.loop.time()
        self._visit.secured(version, cipher)
        if self._session.state is TLS:
            self._session.secure()
        elif spoke:
            self._session.speak_before_greeting()
        self._go_on()

    def insecure(self, reason: str) -> None:
        """TLS has failed."""
        self._reason = self._reason or f"TLS: {reason}"
        self._transport.close()

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
        patience = min(timeout, _HANDSHAKE_SECONDS) if self._is_shaking else timeout
        if self._transport.is_closing():
            if now - self._heard >= _LAST_REPLIES_SECONDS:
                self._transport.abort()
        elif now - self._heard >= patience or self._reception.dribbles(now, timeout):
            self._reason = "timeout"
            self._session.time_out()
            self._go_on()

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
        service, listener, transport = self._service, self._listener, self._transport
        peer = admit(service, listener, transport, self._introduced)
        if peer is None:
            return
        self._session = Session(facts_of(service.config, service.version, listener, peer), service.census)
        self._heard = service.loop.time()
        self._visit = Visit(service, self, peer, self._introduced)
        self._reception = Reception(service, self._session, self._visit, self)
        self._is_open = True
        if listener.tls == "implicit":
            self._shake_hands()
            return
        introduced = self._introduced
        if spoke_early(transport) if introduced is None else introduced.spoke:
            self._session.speak_before_greeting()
        self._go_on()

    def _shake_hands(self) -> None:
        """From here on there is TLS between the socket and this."""
        context = self._service.tls
        assert context is not None
        self._is_shaking = True
        self._heard = self._service.loop.time()
        secured = Secured(self._transport, self, Codec(context))
        self._transport.set_protocol(secured)
        self._transport = secured

    # Called by the reception.

    def reached(self) -> IP | None:
        """The address of ours that the client connected to."""
        return self._visit.reached(self._transport)

    def start_tls(self) -> None:
        """The 220 to STARTTLS goes out in the clear, and nothing after it (RFC 3207 section 4)."""
        self._session.answer()
        self._flush()
        if self._session.state is TLS and not self._transport.is_closing():
            self._shake_hands()

    def resume(self, step: Callable[[R], None], result: R) -> None:
        """Go on after a wait, with what became possible then."""
        try:
            step(result)
        except Exception as error:
            self._broken(error)
        if not self._is_lost:
            self._go_on()
        elif not self._reception.is_busy:
            self._finish()

    # What the session says.

    def _go_on(self) -> None:
        """Read on as far as verdicts can be given and replies are read now, and send what there is to say."""
        session, reception = self._session, self._reception
        try:
            while not reception.is_busy:
                event = None if self._is_unread else session.next_event()
                if self._service.is_retiring and (self._is_cut or session.transaction is None):
                    # Nothing is lost with an event that has no verdict yet: a draft is no message before that.
                    self._leave()
                    break
                if event is None:
                    break
                reception.judge(event)
                if len(session.unsent) >= _REPLIES_AT_ONCE:
                    self._send()
            self._flush()
        except Exception as error:
            self._broken(error)

    def _leave(self) -> None:
        if self._session.state is not CLOSED:
            self._reason = "shutdown"
            self._session.shut_down()

    @property
    def _is_held_up(self) -> bool:
        """Whether there may be more to answer, once a password was looked at, or what was said before was read."""
        return self._session.pending is not None or self._is_unread

    def _send(self) -> None:
        replies = self._session.output()
        if replies:
            self._transport.write(replies)
        if replies or self._session.state is DATA:
            self._heard = self._service.loop.time()

    def _flush(self) -> None:
        """Send the replies of this turn, as a rule in one write, then close or read on."""
        session, transport = self._session, self._transport
        if transport.is_closing():
            return
        state = session.state
        if self._is_shaking and state is not CLOSED:
            self._read(not self._is_unread)
            return
        self._send()
        if state is CLOSED:
            self._reason = self._reason or _ending(session.last_word)
            transport.close()
        elif not self._reception.is_busy:
            if not self._has_ended:
                self._read(not self._is_held_up)
            elif not self._is_held_up:
                transport.close()

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
        self._service.record.bug("session", error, self._visit.id if self._is_open else "")
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
            self._reception.end()
            self._visit.end(
                self,
                messages=self._reception.messages,
                reason=self._reason or "connection lost",
                in_handshake=self._is_shaking,
            )


def _ending(last_word: Reply | None) -> str:
    """Why the session closed, in the log's words."""
    return "quit" if last_word is None or last_word is BYE else last_word.lines[0].rpartition("Error: ")[2]
