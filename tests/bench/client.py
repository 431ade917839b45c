"""A client: sends many messages over kept sessions, and times each from its final dot to the 250.

It is for what smtp-source cannot do: PIPELINING (RFC 2920), STARTTLS (RFC 3207), a domain for each message, and
the times of single messages. Many sessions are one loop in one thread. A reply that is not expected raises
ClientError.
"""

import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_TIMEOUT = 30.0
_LINE = b"X" * 76 + b"\r\n"
_EXPECTED = {"MAIL": b"2", "RCPT": b"2", "DATA": b"3", "DOT": b"2"}


class ClientError(Exception):
    """The server did not say what it should."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. `domains` take turns; `is_secured` is STARTTLS before all else."""

    messages: int
    sessions: int
    octets: int
    domains: tuple[str, ...] = ("example.test",)
    is_pipelined: bool = False
    is_secured: bool = False


def send(port: int, load: Load, timeout: float) -> tuple[float, list[float]]:
    """Send it: seconds from the first connection to the last 250, and those of each message."""
    deadline = time.monotonic() + timeout
    began = time.monotonic()
    numbers = iter(range(load.messages))
    content = _content(load.octets)
    times: list[float] = []
    sessions = [_Session(_connect(port, load), load, content, times) for _ in range(load.sessions)]
    try:
        with selectors.DefaultSelector() as selector:
            for session in sessions:
                selector.register(session.connection, selectors.EVENT_READ, session)
                session.begin(numbers)
            while len(times) < load.messages:
                for key, _ in selector.select(_TIMEOUT):
                    waiting: _Session = key.data
                    waiting.read(numbers)
                if time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"{len(times)} of {load.messages} messages were accepted in {timeout:.0f} s"
                    )
        took = time.monotonic() - began
        for session in sessions:
            session.connection.sendall(b"QUIT\r\n")
        return took, times
    finally:
        for session in sessions:
            session.connection.close()


@dataclass(slots=True)
class _Session:
    connection: socket.socket
    load: Load
    content: bytes
    times: list[float]
    unread: bytes = b""
    # The replies that are still to come.
    awaited: list[str] = field(default_factory=list)
    # What is to be said once they have come.
    unsaid: list[tuple[str, bytes]] = field(default_factory=list)
    sent: float = 0.0

    def begin(self, numbers: Iterator[int]) -> None:
        """Start with the next message, where there is one."""
        number = next(numbers, None)
        if number is None:
            return
        domain = self.load.domains[number % len(self.load.domains)]
        commands = [
            ("MAIL", b"MAIL FROM:<a@source.test>\r\n"),
            ("RCPT", b"RCPT TO:<b@%s>\r\n" % domain.encode()),
            ("DATA", b"DATA\r\n"),
        ]
        if self.load.is_pipelined:
            self.connection.sendall(b"".join(line for _, line in commands))
            self.awaited = [verb for verb, _ in commands]
            self.unsaid = [("DOT", self.content)]
        else:
            self.unsaid = [*commands, ("DOT", self.content)]
            self._say()

    def read(self, numbers: Iterator[int]) -> None:
        """Take the replies that have come, and go on."""
        chunk = self.connection.recv(65_536)
        if not chunk:
            raise ClientError("the server has closed the connection")
        *lines, self.unread = (self.unread + chunk).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            verb = self.awaited.pop(0) if self.awaited else ""
            if not line.startswith(_EXPECTED.get(verb, b"no reply")):
                raise ClientError(f"{verb or 'nothing'}: {line.decode(errors='replace')}")
            if verb == "DOT":
                self.times.append(time.monotonic() - self.sent)
                self.begin(numbers)
            elif not self.awaited:
                self._say()

    def _say(self) -> None:
        verb, octets = self.unsaid.pop(0)
        self.awaited = [verb]
        if verb == "DOT":
            self.sent = time.monotonic()
        self.connection.sendall(octets)


def _connect(port: int, load: Load) -> socket.socket:
    connection: socket.socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _reply(connection, b"220")
    offered = _ask(connection, b"EHLO source.test\r\n", b"250")
    if load.is_pipelined and b"PIPELINING" not in offered:
        raise ClientError("the server does not offer PIPELINING")
    if load.is_secured:
        if b"STARTTLS" not in offered:
            raise ClientError("the server does not offer STARTTLS")
        _ask(connection, b"STARTTLS\r\n", b"220")
        # The certificate is one of this run, and not what is measured.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = context.wrap_socket(connection)
        _ask(connection, b"EHLO source.test\r\n", b"250")
    return connection


def _ask(connection: socket.socket, line: bytes, code: bytes) -> bytes:
    connection.sendall(line)
    return _reply(connection, code)


def _reply(connection: socket.socket, code: bytes) -> bytes:
    """A whole reply; nothing else is on its way."""
    reply = b""
    while not (reply.endswith(b"\r\n") and reply.split(b"\r\n")[-2][3:4] == b" "):
        chunk = connection.recv(65_536)
        if not chunk:
            raise ClientError("the server has closed the connection")
        reply += chunk
    if not reply.startswith(code):
        raise ClientError(reply.decode(errors="replace").strip())
    return reply


def _content(octets: int) -> bytes:
    """Mail data with a body of so many octets, and the final dot."""
    header = b"From: <a@source.test>\r\nTo: <b@example.test>\r\nSubject: One of many\r\n\r\n"
    body = _LINE * (octets // len(_LINE))
    rest = octets - len(body)
    body += b"X" * (rest - 2) + b"\r\n" if rest >= 2 else b""
    return header + body + b".\r\n"
