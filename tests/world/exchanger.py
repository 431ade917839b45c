"""An exchanger: a scripted SMTP server on loopback that receives mail and keeps every byte of it.

A thread a session and blocking sockets; what the replies are is in session.py, and the socket in wire.py. What a
test sets may change while it runs. A peer that breaks the protocol gets the 5yz reply of RFC 5321; a script
that raises ends its session, and the exception goes to threading's excepthook.
"""

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .session import Session, read_line, read_mail_data
from .wire import Wire

EXTENSIONS = (b"PIPELINING", b"8BITMIME", b"SIZE 10000000", b"ENHANCEDSTATUSCODES")
# Enough for a test that holds back the final reply, and an end for one that forgot to give it.
_LONGEST_HOLD = 30.0
_HOLD_STEP = 0.02


@dataclass(frozen=True, slots=True)
class Received:
    """One message at its final dot.

    Lines are without CR LF; `recipients` has the RCPT lines that got a 2yz. `data` is the mail data without
    transparency dots and terminator, with the CR LF of its last line. `reply` is the answer to the final dot,
    None when the connection was dropped instead.
    """

    helo: bytes
    reverse_path: bytes
    recipients: tuple[bytes, ...]
    data: bytes
    reply: bytes | None


Script = bytes | Callable[[Session, bytes], bytes | None]
Action = Callable[[Wire], None]


class Exchanger:
    """Serves as long as its context lasts; `stop` and `start` take the same port down and up in between.

    `replies` maps a verb to what is said instead of the usual reply: bytes (with CR LF; b"" says nothing at
    all) or a function of session and line, whose None means the usual. "CONNECT" stands for the greeting, "."
    for the final dot. After a 421 the connection is closed. `drop_after` is the verb (or "CONNECT") on whose
    arrival the connection is closed without a reply; `drop_after_final_dot` does it when the mail data has
    been read and the message recorded. `actions` maps a verb to what is done on the wire instead of a reply, and
    goes before all others; "354" stands for the moment when the mail data is to be read. Where it returns the
    session goes on, without a reply and without a change of state. With `tls` STARTTLS is offered and done, on
    a connection that has none yet. `before_final_reply` holds the reply to the final dot back, the
    message being recorded already, until it is set; after 30 seconds the connection is closed instead.
    `greeting_delay` is in seconds. All of these, and `extensions` and `ehlo`, may be set at any time.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        name: bytes = b"exchanger.test",
        greeting_delay: float = 0.0,
        replies: Mapping[str, Script] | None = None,
        actions: Mapping[str, Action] | None = None,
        tls: ssl.SSLContext | None = None,
        extensions: tuple[bytes, ...] = EXTENSIONS,
        ehlo: bool = True,
        drop_after: str | None = None,
        drop_after_final_dot: bool = False,
        before_final_reply: threading.Event | None = None,
    ) -> None:
        self.name = name
        self.greeting_delay = greeting_delay
        self.replies: dict[str, Script] = dict(replies or {})
        self.actions: dict[str, Action] = dict(actions or {})
        self.tls = tls
        self.extensions = extensions
        self.ehlo = ehlo
        self.drop_after = drop_after
        self.drop_after_final_dot = drop_after_final_dot
        self.before_final_reply = before_final_reply
        self._changed = threading.Condition()
        self._messages: list[Received] = []
        self._sessions: list[Session] = []
        self._commands: Counter[str] = Counter()
        self._socket = _bind(address, port)
        self.address: tuple[str, int] = (address, self._socket.getsockname()[1])
        self._stopping = threading.Event()
        self._acceptor: threading.Thread | None = None
        self._running: dict[threading.Thread, Wire] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._socket.close()

    @property
    def port(self) -> int:
        """The port, the same over stop and start."""
        return self.address[1]

    @property
    def messages(self) -> list[Received]:
        """All messages so far, in the order of their final dots."""
        with self._changed:
            return list(self._messages)

    def forget(self) -> None:
        """Forget the messages so far, for the next test of those that share it."""
        with self._changed:
            self._messages.clear()

    @property
    def sessions(self) -> list[Session]:
        """All sessions so far, in the order of their connections."""
        with self._changed:
            return list(self._sessions)

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return len(self.sessions)

    @property
    def commands(self) -> Counter[str]:
        """How often each verb (in upper case) arrived so far."""
        with self._changed:
            return self._commands.copy()

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Received]:
        """The messages, once there are `count` of them; TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                arrived = len(self._messages)
                raise TimeoutError(f"{arrived} of {count} messages at {self.address} after {timeout} s")
            return list(self._messages)

    def start(self) -> None:
        """Accept connections. RuntimeError when it does already."""
        if self._acceptor is not None:
            raise RuntimeError("the exchanger accepts connections already")
        self._stopping.clear()
        self._socket.listen()
        self._acceptor = threading.Thread(target=self._accept, name="exchanger", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Refuse connections and close the open ones; all threads have ended when this returns."""
        if self._acceptor is None:
            return
        self._stopping.set()
        # Closing a socket does not wake a thread that waits in accept; shutting it down does.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._acceptor = None
        with self._changed:
            running = dict(self._running)
            for wire in running.values():
                wire.shut_down()
        for thread in running:
            thread.join()
        # Bound and not listening: connections are refused, and nobody else gets the port.
        self._socket.close()
        self._socket = _bind(*self.address)

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                if self._stopping.is_set():
                    return
                raise
            # A reply must not wait for the acknowledgement of the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                session = Session(len(self._sessions) + 1, peer)
                self._sessions.append(session)
                wire = Wire(connection, self._stopping)
                thread = threading.Thread(target=self._serve, args=(session, wire), daemon=True)
                self._running[thread] = wire
                thread.start()

    def _serve(self, session: Session, wire: Wire) -> None:
        try:
            self._converse(session, wire)
        except (EOFError, OSError):
            pass  # The session is over: the peer has gone, the server stops or the script says so.
        finally:
            with self._changed:
                del self._running[threading.current_thread()]
                wire.close()

    def _converse(self, session: Session, wire: Wire) -> None:
        if self.drop_after == "CONNECT" or self._stopping.wait(self.greeting_delay):
            return
        if not self._acted("CONNECT", wire):
            _send(wire, self._scripted(session, "CONNECT", b"", b"220 " + self.name + b" ESMTP\r\n"))
        while True:
            line = read_line(wire.lines)
            verb = line.split(b" ", 1)[0].removesuffix(b"\r\n").decode("latin-1").upper()
            with self._changed:
                session.lines.append(line.removesuffix(b"\r\n"))
                self._commands[verb] += 1
            if verb == self.drop_after:
                return
            if self._acted(verb, wire):
                continue
            if not line.endswith(b"\r\n"):
                wire.send(b"500 5.5.2 The line does not end in CR LF\r\n")
                continue
            line = line.removesuffix(b"\r\n")
            usual = session.usual_reply(verb, self.name, self._offered(session))
            reply = self._scripted(session, verb, line, usual)
            session.advance(verb, line, reply)
            _send(wire, reply)
            if verb == "STARTTLS" and reply.startswith(b"2") and self.tls is not None:
                session.secured(wire.secure(self.tls))
            if verb == "DATA" and reply.startswith(b"3") and not self._acted("354", wire):
                self._receive(session, wire)
            if verb == "QUIT" and reply.startswith(b"2"):
                return

    def _acted(self, verb: str, wire: Wire) -> bool:
        action = self.actions.get(verb)
        if action is not None:
            action(wire)
        return action is not None

    def _offered(self, session: Session) -> tuple[bytes, ...] | None:
        if not self.ehlo:
            return None
        return (*self.extensions, b"STARTTLS") if self.tls is not None and not session.tls else self.extensions

    def _receive(self, session: Session, wire: Wire) -> None:
        session.data = read_mail_data(wire.lines)
        if self._acted(".", wire):
            session.forget()
            return
        reply = None if self.drop_after_final_dot else self._scripted(session, ".", b".", b"250 2.0.0 Ok\r\n")
        assert session.reverse_path is not None, "a script had DATA accepted without MAIL"
        message = Received(session.helo, session.reverse_path, tuple(session.recipients), session.data, reply)
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
        if reply is None:
            raise ConnectionAbortedError("dropped after the final dot")
        self._hold()
        session.forget()
        _send(wire, reply)

    def _scripted(self, session: Session, verb: str, line: bytes, usual: bytes) -> bytes:
        script = self.replies.get(verb)
        reply = script(session, line) if callable(script) else script
        return usual if reply is None else reply

    def _hold(self) -> None:
        """Wait until the reply to the final dot may go."""
        held = self.before_final_reply
        if held is None:
            return
        for _ in range(round(_LONGEST_HOLD / _HOLD_STEP)):
            if self._stopping.is_set():
                break
            if held.wait(_HOLD_STEP):
                return
        raise ConnectionAbortedError("the reply to the final dot never went")


def _send(wire: Wire, reply: bytes) -> None:
    wire.send(reply)
    if reply.startswith(b"421"):
        raise ConnectionAbortedError("closed after a 421")


def _bind(address: str, port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
