"""TLS as a codec: octets of the peer in, plain octets out, and the other way round (RFC 8446, RFC 5246).

TLS 1.2 is the oldest that is spoken, and no session is negotiated anew. Refuses to know sockets and clocks. Fails
with `TlsError`, whose text is one line; what `output` then gives, such as an alert, is still to be sent.
"""

import ssl

from relayd.base.sections import Tls

# What OpenSSL is given at a time, since its buffers grow with it and never shrink: measured, a session that has
# received a mail keeps 22 KiB with this, and 38 KiB with the 16 KiB of a record.
_PIECE = 4096
_READ = 65_536


class TlsError(Exception):
    """The peer does not speak TLS, or not so that there is a session; the message says why."""


def server_context(tls: Tls) -> ssl.SSLContext:
    """What all sessions of a process share; raises TlsError for a certificate or a key that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
    # Each worker has keys of its own for tickets, so that a client would have to find the same one again.
    context.num_tickets = 0
    # An empty pass phrase, since the library would ask the terminal for that of an encrypted key.
    try:
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        raise TlsError(f"certificate {tls.certificate} and key {tls.key}: {_reason(error)}") from None
    return context


class Codec:
    """The server's side of one TLS session."""

    __slots__ = ("_incoming", "_object", "_outgoing", "has_ended", "is_established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # The handshake is done.
        self.is_established = False
        # The peer has said that it sends no more.
        self.has_ended = False

    @property
    def version(self) -> str:
        """The protocol's version, as "TLSv1.3"."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """The cipher suite's name."""
        found = self._object.cipher()
        return found[0] if found is not None else ""

    def feed(self, octets: bytes) -> bytes:
        """Take what the peer sent and give what it says; raise TlsError, and then nothing more is to be fed."""
        plain = []
        for first in range(0, len(octets), _PIECE):
            self._incoming.write(octets[first : first + _PIECE])
            try:
                if not self.is_established:
                    self._object.do_handshake()
                    self.is_established = True
                while not self.has_ended:
                    piece = self._object.read(_READ)
                    self.has_ended = not piece
                    plain.append(piece)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLZeroReturnError:
                self.has_ended = True
            except (ssl.SSLError, OSError) as error:
                raise TlsError(_reason(error)) from None
        return plain[0] if len(plain) == 1 else b"".join(plain)

    def write(self, octets: bytes) -> None:
        """Say something, once the handshake is done; raise TlsError."""
        try:
            self._object.write(octets)
        except (ssl.SSLError, OSError) as error:
            raise TlsError(_reason(error)) from None

    def close(self) -> None:
        """Say that nothing more comes (RFC 8446 section 6.1); never fails."""
        try:
            self._object.unwrap()
        except (ssl.SSLError, OSError):
            # It does not wait for the peer's word, and one may be in the middle of a handshake.
            return

    def output(self) -> bytes:
        """Take what is to be sent to the peer."""
        return self._outgoing.read() if self._outgoing.pending else b""


def _reason(error: Exception) -> str:
    """OpenSSL's name of what went wrong, for people."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return str(reason).replace("_", " ").lower()
