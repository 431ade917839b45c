"""Sessions in TLS: the handshake, what came before it, and peers that break it."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from relayd.base.channel import CANNOT_BOOT, Refused
from relayd.base.sections import Tls
from relayd.base.users import Hash, Users
from relayd.receive.connection import Connection
from tests.receive.house import House, Transport, later
from tests.receive.live import start
from tests.receive.tls_peer import Peer, certified

EHLO = b"EHLO client.example\r\n"


def play(
    folder: Path, mode: str, scene: Callable[[House, Transport], Coroutine[None, None, None]], more: str = ""
) -> None:
    """A scene in a house with a certificate."""
    tls = certified(folder)
    settings = (
        f'[[listener]]\ntls = "{mode}"\n[tls]\n'
        f'certificate = "{tls.certificate}"\nkey = "{tls.key}"\n[relay]\npostmaster = "ops@example.org"\n{more}'
    )

    async def main() -> None:
        house = House(folder, settings=settings)
        await scene(house, Transport())
        house.end()

    asyncio.run(main())


def shake_hands(transport: Transport, peer: Peer, *, then: bytes = b"") -> None:
    """To the end; `then` is said in the segment that ends it."""
    said = peer.hears(b"")
    while said:
        if peer.is_established and then:
            said += peer.says(then)
        transport.protocol.data_received(said)
        said = peer.hears(transport.taken())
    assert peer.is_established


def says(transport: Transport, peer: Peer, octets: bytes) -> list[str]:
    """Say it, and give the replies' lines."""
    transport.protocol.data_received(peer.says(octets))
    return peer.reads(transport.taken()).decode().splitlines()


def test_a_session_goes_on_in_tls_from_its_start(tmp_path: Path) -> None:
    """After STARTTLS nothing is known of the client, and a message says how it came."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n")
        assert transport.replies()[-1] == "220 2.0.0 Ready to start TLS"
        peer = Peer()
        shake_hands(transport, peer)
        assert says(transport, peer, b"MAIL FROM:<>\r\n")[0].startswith("503 ")
        assert "250-STARTTLS" not in says(transport, peer, EHLO)
        said = says(transport, peer, b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        assert [line[:3] for line in said] == ["250", "250", "354"]
        transport.protocol.data_received(peer.says(b"Hi\r\n.\r\n"))
        await asyncio.wait_for(transport.was_written.wait(), 10)
        assert peer.reads(transport.written).startswith(b"250 2.0.0 Ok: queued")
        (name,) = house.files("new")
        assert b"with ESMTPS id" in (house.spool / "new" / name).read_bytes()
        (started,) = house.events("tls.started")
        assert started["version"] == "TLSv1.3"
        assert house.post.slot.get("tls_sessions") == 1
        transport.protocol.connection_lost(None)
        assert len(house.events("session.closed")) == 1

    play(tmp_path, "starttls", scene)


def test_implicit_tls_greets_inside(tmp_path: Path) -> None:
    """Nothing is said in the clear."""

    async def scene(house: House, transport: Transport) -> None:
        transport, peer = opened(house), Peer()
        said = peer.hears(b"")
        transport.protocol.data_received(said)
        said = peer.hears(transport.taken())
        transport.protocol.data_received(said)
        assert peer.reads(transport.taken()).startswith(b"220 relay.example.org ESMTP")
        assert says(transport, peer, b"QUIT\r\n") == ["221 2.0.0 Bye"]
        assert transport.is_closed
        transport.protocol.connection_lost(None)
        assert house.events("session.closed")[0]["reason"] == "quit"

    play(tmp_path, "implicit", scene)


def opened(house: House) -> Transport:
    """A connection that waits for its handshake: nothing was said."""
    transport = Transport()
    connection = Connection(house.worker, house.post.config.listeners[0])
    transport.set_protocol(connection)
    connection.connection_made(transport)
    assert transport.written == b""
    assert transport.protocol is not connection
    return transport


def test_who_speaks_before_the_greeting_in_tls_is_closed(tmp_path: Path) -> None:
    """In the segment that ends the handshake."""

    async def scene(house: House, transport: Transport) -> None:
        transport, peer = opened(house), Peer()
        transport.protocol.data_received(peer.hears(b""))
        said = peer.hears(transport.taken()) + peer.says(EHLO)
        transport.protocol.data_received(said)
        assert peer.reads(transport.written).startswith(b"554 5.5.0 ")
        assert transport.is_closed

    play(tmp_path, "implicit", scene)


@pytest.mark.parametrize("injected", [b"NOOP\r\n", b"RSET\r\nMAIL FROM:<a@client.example>\r\n", b"x"])
def test_what_is_put_behind_starttls_is_never_heard(tmp_path: Path, injected: bytes) -> None:
    """CVE-2011-0411: in the same segment the session ends; before the handshake it is no TLS, and ends too."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n" + injected)
        assert transport.replies()[-1].startswith("554 5.5.0 ")
        assert transport.is_closed
        connection.connection_lost(None)

        other = Transport()
        house.connection(other).data_received(EHLO + b"STARTTLS\r\n")
        other.replies()
        other.protocol.data_received(injected + b"x" * 20)
        assert b"250 " not in other.written
        assert other.is_closed
        other.protocol.connection_lost(None)
        (failed,) = house.events("tls.failed")
        assert failed["reason"].startswith("TLS: ")
        assert house.post.slot.get("tls_failures") == 1

    play(tmp_path, "starttls", scene)


def test_a_handshake_that_stalls_ends_after_a_minute(tmp_path: Path) -> None:
    """Without a word in the clear."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n")
        transport.replies()
        transport.protocol.data_received(Peer().hears(b"")[:20])
        connection.sweep(later(59), 300.0)
        assert not transport.is_closing()
        connection.sweep(later(61), 300.0)
        assert transport.is_closed
        assert transport.written == b""
        transport.protocol.connection_lost(None)
        assert house.events("tls.failed")[0]["reason"] == "timeout"

    play(tmp_path, "starttls", scene)


def test_a_client_that_reads_its_220_late_is_heard(tmp_path: Path) -> None:
    """It was not read as long as it did not read itself."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.pause_writing()
        connection.data_received(EHLO + b"STARTTLS\r\n")
        assert not transport.reads
        transport.protocol.resume_writing()
        assert transport.reads
        transport.replies()
        shake_hands(transport, Peer())
        transport.protocol.connection_lost(None)

    play(tmp_path, "starttls", scene)


def test_a_stop_during_the_handshake_closes_without_a_word(tmp_path: Path) -> None:
    """A 421 in the clear would be no TLS."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n")
        transport.replies()
        house.worker.is_retiring = True
        connection.retire(at_once=False)
        assert transport.is_closed
        assert transport.written == b""
        transport.protocol.connection_lost(None)

    play(tmp_path, "starttls", scene)


def test_the_peers_word_that_nothing_more_comes_ends_the_session(tmp_path: Path) -> None:
    """As the end of file does."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n")
        transport.replies()
        peer = Peer()
        shake_hands(transport, peer)
        transport.protocol.data_received(peer.closes())
        assert transport.is_closed
        transport.protocol.connection_lost(None)
        assert house.events("session.closed")[0]["reason"] == "client closed"

    play(tmp_path, "starttls", scene)


def test_what_was_said_before_the_peers_last_word_is_answered(tmp_path: Path) -> None:
    """A password too, which takes its time, and all that is pipelined behind it."""
    cheap = Hash.read("$scrypt$n=2,r=1,p=1$c2FsdHNhbHQ=$1pazaWFI7iSXJLTjb4ccs7OW1XPlIRFV+XIUMR/UnJg=")
    Users({"anna": cheap}).write(tmp_path / "users")

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n")
        transport.replies()
        peer = Peer()
        shake_hands(transport, peer)
        said = peer.says(
            EHLO + b"AUTH PLAIN " + b64encode(b"\0anna\0secret") + b"\r\n"
            b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\n"
            b"BDAT 4 LAST\r\nHi\r\nQUIT\r\n"
        )
        transport.protocol.data_received(said + peer.closes())
        async with asyncio.timeout(10):
            while not transport.is_closed:
                await asyncio.sleep(0)
        codes = [line[:4] for line in peer.reads(transport.taken()).decode().splitlines()]
        assert [code for code in codes if code != "250-"] == ["250 ", "235 ", "250 ", "250 ", "250 ", "221 "]
        assert len(house.files("new")) == 1
        transport.protocol.connection_lost(None)

    play(tmp_path, "starttls", scene, f'[auth]\nusers = "{tmp_path}/users"')


def test_a_record_that_was_changed_ends_the_session(tmp_path: Path) -> None:
    """With nothing of it heard, and no failed handshake counted."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(EHLO + b"STARTTLS\r\n")
        transport.replies()
        peer = Peer()
        shake_hands(transport, peer)
        said = bytearray(peer.says(EHLO))
        said[-1] ^= 1
        transport.protocol.data_received(bytes(said))
        assert transport.is_closed
        transport.protocol.connection_lost(None)
        assert house.events("session.closed")[0]["reason"].startswith("TLS: ")
        assert house.events("tls.failed") == []

    play(tmp_path, "starttls", scene)


def test_without_a_certificate_tls_is_not_offered(tmp_path: Path) -> None:
    """A listener's word alone is not enough."""

    async def main() -> None:
        house = House(tmp_path)
        transport = Transport()
        house.connection(transport).data_received(EHLO + b"STARTTLS\r\n")
        assert not any("STARTTLS" in line for line in transport.replies())
        house.end()

    asyncio.run(main())


def test_a_key_that_is_not_the_certificates_is_no_worker(tmp_path: Path) -> None:
    """See tests of the codec for the error."""
    (tmp_path / "other").mkdir()
    tls = Tls(certified(tmp_path).certificate, certified(tmp_path / "other").key)
    settings = f'[tls]\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"'

    async def main() -> None:
        with pytest.raises(Exception, match="key values mismatch"):
            House(tmp_path, settings=settings)

    asyncio.run(main())


def test_a_certificate_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """The master hears why, in one line."""
    settings = f'[tls]\ncertificate = "{tmp_path}/none.pem"\nkey = "{tmp_path}/none.key"'
    running = start(tmp_path, settings=settings)
    try:
        said = running.hears()
        assert isinstance(said, Refused)
        assert said.reason.startswith(
            f"worker: certificate {tmp_path}/none.pem and key {tmp_path}/none.key: no such"
        )
        assert running.status() == CANNOT_BOOT
    finally:
        running.close()
