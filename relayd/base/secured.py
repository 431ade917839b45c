"""A secured transport: TLS between a socket and the session that speaks on it.

It is the protocol of the socket's transport and the transport of its owner, which reads and writes plain octets.
Whatever the owner has written before the handshake is done is lost, since nothing may go out in the clear any
more. Refuses to know which side it is. A peer that breaks TLS gets the alert that OpenSSL has for it, and the
owner hears why.
"""

import asyncio
from typing import Any, Protocol

from relayd.base.tls import Codec, TlsError


class Owner(Protocol):
    """Who speaks on it: a protocol, beside what only TLS brings."""

    def secured(self, version: str, cipher: str, *, spoke: bool) -> None:
        """The handshake is done; whether the peer spoke right behind it. Its octets come next."""

    def insecure(self, reason: str) -> None:
        """TLS has failed; nothing more comes or goes."""

    def data_received(self, data: bytes) -> None:
        """Plain octets."""

    def eof_received(self) -> bool:
        """The peer says no more; whether its socket stays open."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""

    def pause_writing(self) -> None:
        """Too much is on its way out."""

    def resume_writing(self) -> None:
        """It has gone."""


class Secured(asyncio.Transport, asyncio.Protocol):
    """See the module."""

    __slots__ = ("_codec", "_has_failed", "_owner", "_transport")

    def __init__(self, transport: asyncio.Transport, owner: Owner, codec: Codec) -> None:
        # Without the dictionary that asyncio's own transports have for each.
        self._transport = transport
        self._owner = owner
        self._codec = codec
        self._has_failed = False

    def begin(self) -> None:
        """Say the first word of the handshake, where that is ours."""
        self.data_received(b"")

    # The protocol of the socket.

    def data_received(self, data: bytes) -> None:
        """Octets of TLS."""
        if self._has_failed or self._transport.is_closing():
            return
        codec = self._codec
        was_established, had_ended = codec.is_established, codec.has_ended
        try:
            plain = codec.feed(data)
        except TlsError as error:
            self._fail(error)
            return
        self._send()
        if codec.is_established and not was_established:
            self._owner.secured(codec.version, codec.cipher, spoke=bool(plain))
        if plain and not self._transport.is_closing():
            self._owner.data_received(plain)
        if codec.has_ended and not had_ended and not self._owner.eof_received():
            self.close()

    def eof_received(self) -> bool:
        """The peer's socket is closed for writing, with or without a word of TLS about it."""
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Too much is on its way out."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """It has gone."""
        self._owner.resume_writing()

    # The transport of the owner.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it, encrypted."""
        if self._has_failed or not self._codec.is_established:
            return
        try:
            self._codec.write(bytes(data))
        except TlsError as error:
            self._fail(error)
            return
        self._send()

    def close(self) -> None:
        """Send what was written, say so in TLS, and close."""
        if not self._transport.is_closing():
            if self._codec.is_established and not self._has_failed:
                self._codec.close()
                self._send()
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's own transport says."""
        return self._transport.get_extra_info(name, default)

    def _send(self) -> None:
        octets = self._codec.output()
        if octets and not self._transport.is_closing():
            self._transport.write(octets)

    def _fail(self, error: TlsError) -> None:
        self._send()
        self._has_failed = True
        self._owner.insecure(str(error))
