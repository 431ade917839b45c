"""A wire: one session's socket, for scripts that say octets instead of replies, and what is no SMTP at all.

It blocks, as the exchanger's threads do. Whatever it does ends with OSError or EOFError when the peer has gone or
the exchanger stops, which is how a session is meant to end.
"""

import os
import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from io import BufferedReader

from .session import read_line

_RESET = struct.pack("ii", 1, 0)


class Wire:
    """The socket and what is buffered of it."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._socket = connection
        self.lines: BufferedReader = connection.makefile("rb")

    def send(self, octets: bytes) -> None:
        """All of them."""
        self._socket.sendall(octets)

    def send_in_clear(self, octets: bytes) -> None:
        """All of them, though TLS is spoken."""
        os.write(self._socket.fileno(), octets)

    def send_endlessly(self, octets: bytes) -> None:
        """Again and again, until the peer has gone."""
        while True:
            self._socket.sendall(octets)

    def dribble(self, octets: bytes, pause: float) -> None:
        """One by one, with so many seconds after each."""
        for octet in octets:
            self._socket.sendall(bytes([octet]))
            self.rest(pause)

    def rest(self, seconds: float) -> None:
        """Do nothing for so long."""
        if self._stopping.wait(seconds):
            raise ConnectionAbortedError("the exchanger stops")

    def read_line(self) -> bytes:
        """The peer's next line."""
        return read_line(self.lines)

    def read(self, most: int) -> bytes:
        """At least one octet; EOFError where the peer closed instead."""
        octets = self.lines.read1(most)
        if not octets:
            raise EOFError("the peer has closed the connection")
        return octets

    def wait(self) -> None:
        """Read all that comes and say nothing, until the peer has gone; this ends the session."""
        while True:
            self.read(65_536)

    def be_deaf(self) -> None:
        """Read nothing more and say nothing, until the peer has gone; this ends the session."""
        gone = select.poll()
        gone.register(self._socket, select.POLLRDHUP)
        while not gone.poll(100):
            self.rest(0)
        raise EOFError("the peer has closed the connection")

    def shrink(self, octets: int) -> None:
        """Let the kernel hold no more than about this for us, so that the peer notices who does not read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)

    def reset(self) -> None:
        """End the connection by RST, which takes back what the peer has not read yet; this ends the session."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise ConnectionAbortedError("reset")

    def finish(self) -> None:
        """Say that nothing more comes, and listen on."""
        self._socket.shutdown(socket.SHUT_WR)

    def secure(self, context: ssl.SSLContext) -> str:
        """Be the server of a TLS handshake; what was buffered before it is forgotten. The protocol's version."""
        self.lines.close()
        secured = context.wrap_socket(
            self._socket, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        # Before the handshake, so that it can be woken.
        self._socket, self.lines = secured, secured.makefile("rb")
        secured.do_handshake()
        return secured.version() or ""

    def end_tls(self) -> None:
        """Say that no more comes under TLS (RFC 8446 section 6.1), and leave the connection as it is."""
        assert isinstance(self._socket, ssl.SSLSocket)
        self._socket.unwrap()

    def shut_down(self) -> None:
        """Wake whoever waits for the peer, from any thread."""
        # The peer may have gone already.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give it back."""
        self.lines.close()
        self._socket.close()
