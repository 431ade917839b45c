"""Sessions through a proxy: whose word counts, and what a client is that the proxy names."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from relayd.receive.preface import Preface
from tests.receive.house import House, Transport, later
from tests.receive.live import LOOPS, live
from tests.receive.test_proxy import V1, V2
from tests.receive.tls_peer import Peer, certified

PROXY = ("203.0.113.5", 1234)
LOCAL = b"PROXY TCP4 127.0.0.1 203.0.113.5 40000 25\r\n"
MAIL = b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n"
DENIED = "554 5.7.1 <b@example.net>: Relay access denied"


def play(folder: Path, scene: Callable[[House], Coroutine[None, None, None]], relay: str = "") -> None:
    """A scene in a house whose listener asks for the header; `relay` are more keys of that table."""
    settings = (
        '[[listener]]\nproxy = true\ntrusted = ["203.0.113.0/24"]\n'
        f'[relay]\npostmaster = "ops@example.org"\n{relay}'
    )

    async def main() -> None:
        house = House(folder, settings=settings)
        await scene(house)
        house.end()

    asyncio.run(main())


def opened(house: House, peer: tuple[str, int] | None = PROXY) -> Transport:
    """A connection to that listener."""
    transport = Transport(peer)
    preface = Preface(house.worker, house.post.config.listeners[0])
    transport.set_protocol(preface)
    preface.connection_made(transport)
    assert transport.written == b""
    return transport


@pytest.mark.parametrize(("header", "code"), [(LOCAL, "250"), (V1, "554"), (V2, "554")])
@pytest.mark.parametrize("bytewise", [True, False])
def test_the_client_is_whom_the_proxy_names(tmp_path: Path, header: bytes, code: str, bytewise: bool) -> None:
    """In what it may do, and in the log."""

    async def scene(house: House) -> None:
        transport = opened(house)
        for piece in [header[place : place + 1] for place in range(len(header))] if bytewise else [header]:
            assert transport.written == b""
            transport.protocol.data_received(piece)
        assert transport.replies()[0].startswith("220 ")
        transport.protocol.data_received(MAIL)
        assert transport.replies()[-1][:3] == code
        (session,) = house.events("session.opened")
        assert session["client"] == ("[127.0.0.1]:40000" if header == LOCAL else "[192.0.2.7]:40000")
        transport.protocol.connection_lost(None)
        assert house.worker.open_sessions == 0

    play(tmp_path, scene)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"])
def test_without_a_name_there_is_no_right_to_relay(tmp_path: Path, header: bytes) -> None:
    """Even where the proxy itself stands in an allowed network."""

    async def scene(house: House) -> None:
        transport = opened(house)
        transport.protocol.data_received(header)
        transport.replies()
        transport.protocol.data_received(MAIL)
        assert transport.replies()[-1] == DENIED
        transport.protocol.connection_lost(None)

    play(tmp_path, scene, 'allow = ["203.0.113.0/24"]')


def test_a_stranger_is_closed_before_it_says_a_word(tmp_path: Path) -> None:
    """Whatever it says of whom."""

    async def scene(house: House) -> None:
        for _ in range(2):
            transport = opened(house, ("198.51.100.7", 1))
            assert transport.is_aborted
            transport.protocol.connection_lost(None)
        (refused,) = house.events("session.refused")
        assert refused["reason"] == "not a trusted proxy"
        assert refused["client"] == "[198.51.100.7]:1"
        assert house.post.slot.get("sessions_refused") == 2

    play(tmp_path, scene)


@pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", b"PROXY TCP4 x\r\n", b"PROXY " + b"x" * 200])
def test_what_is_no_header_ends_it(tmp_path: Path, octets: bytes) -> None:
    """Without a word."""

    async def scene(house: House) -> None:
        transport = opened(house)
        transport.protocol.data_received(octets)
        assert transport.is_aborted
        assert transport.written == b""
        assert house.worker.open_sessions == 0

    play(tmp_path, scene)


def test_a_proxy_that_says_nothing_is_closed_after_a_minute(tmp_path: Path) -> None:
    """It has what it says when it connects."""

    async def scene(house: House) -> None:
        transport = opened(house)
        preface = transport.protocol
        assert isinstance(preface, Preface)
        preface.sweep(later(59), 300.0)
        assert not transport.is_closing()
        preface.sweep(later(61), 300.0)
        assert transport.is_aborted
        transport.protocol.connection_lost(None)
        assert house.worker.open_sessions == 0

    play(tmp_path, scene)


def test_a_client_that_speaks_before_it_is_greeted_is_closed(tmp_path: Path) -> None:
    """Its words come with the header."""

    async def scene(house: House) -> None:
        transport = opened(house)
        transport.protocol.data_received(LOCAL + MAIL)
        assert [line[:9] for line in transport.replies()] == ["554 5.5.0"]
        assert transport.is_closed

    play(tmp_path, scene)


def test_the_address_that_the_client_wanted_is_ours(tmp_path: Path) -> None:
    """The proxy's own; strangers reach postmaster there."""

    async def scene(house: House) -> None:
        transport = opened(house)
        transport.protocol.data_received(V1)
        transport.protocol.data_received(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster@[198.51.100.1]>\r\n")
        assert transport.replies()[-1] == "250 2.1.5 Ok"
        transport.protocol.connection_lost(None)

    play(tmp_path, scene)


def test_tls_begins_behind_the_header(tmp_path: Path) -> None:
    """Also when its first octets come with it."""
    tls = certified(tmp_path)

    async def main() -> None:
        house = House(
            tmp_path,
            settings=f'[tls]\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
            '[relay]\npostmaster = "ops@example.org"\n'
            '[[listener]]\nproxy = true\ntls = "implicit"\ntrusted = ["203.0.113.0/24"]\n',
        )
        transport, peer = opened(house), Peer()
        transport.protocol.data_received(V2 + peer.hears(b""))
        transport.protocol.data_received(peer.hears(transport.taken()))
        assert peer.reads(transport.taken()).startswith(b"220 ")
        transport.protocol.connection_lost(None)
        house.end()

    asyncio.run(main())


def test_a_service_that_retires_waits_for_no_header(tmp_path: Path) -> None:
    """There is nothing to say yet."""

    async def scene(house: House) -> None:
        transport = opened(house)
        preface = transport.protocol
        assert isinstance(preface, Preface)
        house.worker.is_retiring = True
        preface.retire(at_once=False)
        assert transport.is_aborted
        assert house.worker.open_sessions == 0
        late = opened(house)
        assert late.is_closing()

    play(tmp_path, scene)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mode", ["off", "implicit"])
def test_a_proxy_over_a_socket(tmp_path: Path, loop: str, mode: str) -> None:
    """On both event loops, with TLS behind the header and without."""
    tls = certified(tmp_path)
    settings = (
        f'[tls]\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
        f'[[listener]]\nproxy = true\ntls = "{mode}"\ntrusted = ["127.0.0.0/8"]\n'
        '[relay]\nallow = ["192.0.2.0/24"]\npostmaster = "ops@example.org"'
    )
    with live(tmp_path, loop=loop, settings=settings) as worker, worker.client(greeted=False) as client:
        for octet in V1:
            client.says(bytes([octet]))
        if mode == "implicit":
            client.starts_tls()
        assert client.hears().startswith("220 ")
        client.begins()
        client.says(b"Hi\r\n.\r\n")
        assert client.hears().startswith("250 ")
        assert worker.event("session.opened")["client"] == "[192.0.2.7]:40000"
        assert worker.mail() == [b"Hi\r\n"]
