"""A peer that speaks TLS in memory: octets in and out, for tests without sockets."""

import ssl
from contextlib import suppress
from pathlib import Path

from relayd.base.sections import Tls
from tests.world.authority import certify


def certified(folder: Path) -> Tls:
    """A server's certificate and key."""
    papers = certify(folder, "relay.example.org")
    return Tls(papers.certificate, papers.key)


class Peer:
    """A client of TLS, which trusts everybody."""

    def __init__(self, oldest: ssl.TLSVersion | None = None, newest: ssl.TLSVersion | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # What nobody should speak any more is only spoken by those that lower their guard.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        if oldest is not None:
            context.minimum_version = oldest
        if newest is not None:
            context.maximum_version = newest
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing)
        self.is_established = False

    def hears(self, octets: bytes) -> bytes:
        """Take what the server sent; give what is to be sent to it."""
        self._incoming.write(octets)
        if not self.is_established:
            try:
                self._object.do_handshake()
                self.is_established = True
            except ssl.SSLWantReadError:
                pass
        return self._outgoing.read()

    def says(self, octets: bytes) -> bytes:
        """The octets as they go out."""
        self._object.write(octets)
        return self._outgoing.read()

    def closes(self) -> bytes:
        """The word of TLS that nothing more comes."""
        with suppress(ssl.SSLWantReadError):
            self._object.unwrap()
        return self._outgoing.read()

    def reads(self, octets: bytes = b"") -> bytes:
        """What the server said, in plain octets; empty at its end too."""
        self._incoming.write(octets)
        found = b""
        try:
            while piece := self._object.read(65_536):
                found += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return found
