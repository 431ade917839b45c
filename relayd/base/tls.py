"""TLS as a codec: octets of the peer in, plain octets out, and the other way round (RFC 8446, RFC 5246).

TLS 1.2 is the oldest that is spoken, and no session is negotiated anew. Refuses to know sockets and clocks. Fails
with `TlsError`, whose text is one line; what `output` then gives, such as an alert, is still to be sent.
"""

import ssl
from dataclasses import dataclass

from relayd.base.sections import Tls

# What OpenSSL is given at a time, since its buffers grow with it and never shrink: measured, a session that has
# received a mail keeps 22 KiB with this, and 38 KiB with the 16 KiB of a record.
_PIECE = 4096
# More than any handshake has, in octets from the peer, and more than may come later without a plain octet in it:
# OpenSSL reads some of its records without end.
_MOST_SILENT = 262_144
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


def client_context(*, verify: bool, weak: bool = False) -> ssl.SSLContext:
    """What all connections of one kind share, and their sessions are good for no other.

    It may `verify` the certificate, and that it is for the server's name, by the system's store. What is `weak` is
    spoken too where the other way would be to speak in the clear.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if weak:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


@dataclass(frozen=True, slots=True)
class Server:
    """Whom a client shakes hands with: a name or an address; and the session to go on with, where there is one.

    None is somebody who has no name, and cannot be verified.
    """

    name: str | None
    session: ssl.SSLSession | None = None


class Codec:
    """One side of one TLS session: the server's, or a client's of `server`."""

    __slots__ = ("_incoming", "_object", "_outgoing", "_silent", "has_ended", "is_established")

    def __init__(self, context: ssl.SSLContext, server: Server | None = None) -> None:
        """Raises TlsError for a server whose name cannot be one."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        try:
            self._object = context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=server is None,
                server_hostname=server.name if server is not None else None,
                session=server.session if server is not None else None,
            )
        except (ValueError, TypeError, ssl.SSLError) as error:
            raise TlsError(f"no name of a server: {_reason(error)}") from None
        # How much has come since the peer said something.
        self._silent = 0
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

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a client may go on with the next time. In TLS 1.3 the server gives it after the handshake."""
        session = self._object.session
        return session if session is not None and (session.has_ticket or session.id) else None

    @property
    def was_resumed(self) -> bool:
        """Whether it goes on with an older session."""
        return bool(self._object.session_reused)

    def feed(self, octets: bytes) -> bytes:
        """Take what the peer sent and give what it says; raise TlsError, and then nothing more is to be fed."""
        plain = []
        # Without any, a client says its first word.
        for first in range(0, len(octets) or 1, _PIECE):
            if self.has_ended:
                # What came behind its last word would be kept, and never read.
                break
            piece = octets[first : first + _PIECE]
            self._silent += len(piece)
            if self._silent > _MOST_SILENT:
                what = "records without content" if self.is_established else "a handshake"
                raise TlsError(f"{what} longer than {_MOST_SILENT} octets")
            self._incoming.write(piece)
            try:
                if not self.is_established:
                    self._object.do_handshake()
                    self.is_established = True
                while not self.has_ended:
                    said = self._object.read(_READ)
                    self.has_ended = not said
                    self._silent = 0
                    plain.append(said)
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
    if not isinstance(error, OSError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.rstrip('.')}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return str(reason).replace("_", " ").lower()
