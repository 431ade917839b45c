"""The codec of TLS: a handshake in memory, however it is cut, and peers that break it."""

import ssl
from pathlib import Path

import pytest

from relayd.base.sections import Tls
from relayd.base.tls import Codec, TlsError, server_context
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
