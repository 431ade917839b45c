"""The codec of TLS: a handshake in memory, however it is cut, and peers that break it."""

import ssl
from pathlib import Path

import pytest

from relayd.base.sections import Tls
from relayd.base.tls import Codec, Server, TlsError, client_context, server_context
from tests.receive.tls_peer import Peer, certified


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Of a server."""
    return server_context(certified(tmp_path_factory.mktemp("tls")))


def shake_hands(codec: Codec, peer: Peer, *, size: int = 1 << 20) -> None:
    """In pieces of so many octets."""
    said = peer.hears(b"")
    while said:
        for first in range(0, len(said), size):
            assert codec.feed(said[first : first + size]) == b""
        said = peer.hears(codec.output())


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_said_is_heard(context: ssl.SSLContext, size: int, newest: ssl.TLSVersion) -> None:
    """After a handshake, in both directions."""
    codec, peer = Codec(context), Peer(newest=newest)
    shake_hands(codec, peer, size=size)
    assert codec.is_established
    assert codec.version == newest.name.replace("_", ".")
    assert codec.cipher
    said = peer.says(b"EHLO client.example\r\n")
    heard = b"".join(codec.feed(said[first : first + size]) for first in range(0, len(said), size))
    assert heard == b"EHLO client.example\r\n"
    codec.write(b"250 Ok\r\n")
    assert peer.reads(codec.output()) == b"250 Ok\r\n"


def test_a_megabyte_at_once_is_heard_whole(context: ssl.SSLContext) -> None:
    """More than any buffer."""
    codec, peer = Codec(context), Peer()
    shake_hands(codec, peer)
    octets = bytes(range(256)) * 4096
    assert codec.feed(peer.says(octets)) == octets
    codec.write(octets)
    assert peer.reads(codec.output()) == octets


def test_the_end_is_said_and_heard(context: ssl.SSLContext) -> None:
    """close_notify in both directions; what came before it is kept."""
    codec, peer = Codec(context), Peer()
    shake_hands(codec, peer)
    assert codec.feed(peer.says(b"QUIT\r\n") + peer.closes()) == b"QUIT\r\n"
    assert codec.has_ended
    codec.write(b"221 Bye\r\n")
    codec.close()
    assert peer.reads(codec.output()) == b"221 Bye\r\n"


def test_what_comes_behind_the_end_is_not_kept(context: ssl.SSLContext) -> None:
    """Nobody reads it any more, and a peer may send without end while a disk is slow."""
    codec, peer = Codec(context), Peer()
    shake_hands(codec, peer)
    assert codec.feed(peer.says(b"QUIT\r\n") + peer.closes() + bytes(100_000)) == b"QUIT\r\n"
    assert codec.feed(bytes(100_000)) == b""
    assert codec._incoming.pending < 8192


def test_closing_before_the_handshake_is_done_does_not_fail(context: ssl.SSLContext) -> None:
    """There is nobody to tell."""
    codec = Codec(context)
    codec.close()
    assert not codec.is_established


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(1000),
        b"\x16\x03\x01\xff\xff" + bytes(66_000),
    ],
)
def test_what_is_not_tls_is_an_error_of_one_line(context: ssl.SSLContext, octets: bytes) -> None:
    """At once, without waiting for more."""
    codec = Codec(context)
    with pytest.raises(TlsError) as caught:
        codec.feed(octets)
    assert str(caught.value).isprintable()
    assert "_ssl" not in str(caught.value)


def test_a_record_that_was_changed_on_its_way_is_an_error(context: ssl.SSLContext) -> None:
    """Nothing of it is heard."""
    codec, peer = Codec(context), Peer()
    shake_hands(codec, peer)
    said = bytearray(peer.says(b"RSET\r\n"))
    said[-1] ^= 1
    with pytest.raises(TlsError):
        codec.feed(bytes(said))


def test_older_versions_are_not_spoken(context: ssl.SSLContext) -> None:
    """TLS 1.2 is the oldest (RFC 8996); the peer gets an alert."""
    codec = Codec(context)
    with pytest.warns(DeprecationWarning, match="TLS"):
        peer = Peer(oldest=ssl.TLSVersion.TLSv1, newest=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(TlsError, match="protocol"):
        codec.feed(peer.hears(b""))
    assert codec.output()[:1] == b"\x15"


@pytest.mark.parametrize("spoiled", ["certificate", "key", "neither"])
def test_a_certificate_that_cannot_be_used_is_an_error_of_one_line(tmp_path: Path, spoiled: str) -> None:
    """It is not there, or it is none, or the key is another one's."""
    tls = certified(tmp_path)
    (tmp_path / "other").mkdir()
    other = certified(tmp_path / "other")
    wrong = {
        "certificate": Tls(tmp_path / "none", tls.key),
        "key": Tls(tls.certificate, tls.certificate),
        "neither": Tls(tls.certificate, other.key),
    }[spoiled]
    with pytest.raises(TlsError) as caught:
        server_context(wrong)
    assert str(wrong.certificate) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_handshake_has_an_end() -> None:
    """OpenSSL reads requests for another handshake for as long as they come."""
    client = Codec(client_context(verify=False), Server("relay.example.org"))
    client.feed(b"")
    record = b"\x16\x03\x03\x00\x04" + bytes(4)
    with pytest.raises(TlsError, match="a handshake longer than 262144 octets"):
        client.feed(record * 100_000)


def test_what_is_said_does_not_count_as_a_handshake(context: ssl.SSLContext) -> None:
    """However much it is."""
    codec, peer = Codec(context), Peer()
    shake_hands(codec, peer)
    for _ in range(4):
        assert len(codec.feed(peer.says(bytes(200_000)))) == 200_000


def test_records_that_say_nothing_have_an_end_too(tmp_path: Path) -> None:
    """As a server's thousands of tickets."""
    own = server_context(certified(tmp_path))
    own.num_tickets = 3000
    with pytest.raises(TlsError, match="records without content longer than 262144 octets"):
        converse(Codec(client_context(verify=False), Server("relay.example.org")), Codec(own), size=1 << 20)


# The client's side.


def converse(client: Codec, server: Codec, *, size: int) -> None:
    """A handshake between the two, in pieces of so many octets."""
    assert client.feed(b"") == b""
    while octets := client.output():
        for first in range(0, len(octets), size):
            server.feed(octets[first : first + size])
        octets = server.output()
        for first in range(0, len(octets), size):
            client.feed(octets[first : first + size])


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_both_sides_are_ours(context: ssl.SSLContext, size: int) -> None:
    """A client that does not look at the certificate, and a server: what one says the other hears."""
    client, server = Codec(client_context(verify=False), Server("relay.example.org")), Codec(context)
    converse(client, server, size=size)
    assert client.is_established
    assert server.is_established
    assert (client.version, client.cipher) == (server.version, server.cipher)
    client.write(b"EHLO relay.example.org\r\n")
    assert server.feed(client.output()) == b"EHLO relay.example.org\r\n"
    server.write(b"250 Ok\r\n")
    assert client.feed(server.output()) == b"250 Ok\r\n"


@pytest.mark.parametrize(
    ("name", "indicated"),
    [("mx.example.net", "mx.example.net"), ("192.0.2.1", None), ("_mx.example.net", "_mx.example.net")],
)
def test_the_server_is_told_whom_we_mean(tmp_path: Path, name: str, indicated: str | None) -> None:
    """Server name indication (RFC 6066 section 3), which has names only."""
    seen: list[str | None] = []
    own = server_context(certified(tmp_path))
    own.sni_callback = lambda _object, name, _context: seen.append(name)
    converse(Codec(client_context(verify=False), Server(name)), Codec(own), size=1 << 20)
    assert seen == [indicated]


def test_a_client_that_verifies_says_what_is_wrong(context: ssl.SSLContext) -> None:
    """In one line, with an alert for the server."""
    client, server = Codec(client_context(verify=True), Server("relay.example.org")), Codec(context)
    with pytest.raises(TlsError, match=r"\Acertificate verify failed: [ -~]+\Z"):
        converse(client, server, size=1 << 20)
    with pytest.raises(TlsError, match="alert"):
        server.feed(client.output())


@pytest.mark.parametrize(
    "name", ["", ".example.net", "x" * 64 + ".example.net", "a..b", "mx\0.example.net", "a." * 150]
)
def test_what_is_no_name_is_an_error_of_one_line(name: str) -> None:
    """An exchanger may be called anything."""
    with pytest.raises(TlsError) as caught:
        Codec(client_context(verify=False), Server(name))
    assert str(caught.value).isprintable()


def test_a_session_that_was_not_established_is_no_session() -> None:
    """Nothing is kept of it."""
    assert Codec(client_context(verify=False), Server("relay.example.org")).session is None
