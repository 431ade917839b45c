"""Out of turn on the wire: early talkers, pipelining past DATA, browsers, proxies that are none.

Judged by the messages in new/; the worker serves the next client in every case.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.hostile.machine import END, each_octet
from tests.receive.live import TRANSACTION, Client, Live, live

HELO = b"HELO client.example\r\n"
V2_START = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL_SOURCE = b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 25\r\n"
STRANGE_SOURCE = b"PROXY TCP4 198.51.100.7 127.0.0.1 40000 25\r\n"


@contextmanager
def stopped(running: Live) -> Iterator[None]:
    """The worker sleeps meanwhile, so that what is done here has happened when it looks."""
    os.kill(running.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(running.pid, signal.SIGCONT)


@contextmanager
def spooling(running: Live, count: int) -> Iterator[None]:
    """So many messages come into new/ meanwhile."""
    before = len(running.files())
    yield
    assert len(running.files()) - before == count


def everything(client: Client) -> str:
    """All that is said until the end, of which a reset is one way."""
    with suppress(ConnectionResetError):
        return "\n".join(client.hears_all())
    return ""


def insists(client: Client, *writes: bytes) -> None:
    """Send these one by one; the worker may have closed already."""
    with suppress(OSError):
        for write in writes:
            client.says(write)


def serves(running: Live, greeting: bytes = b"") -> None:
    """The next client is served, and its message is the only one."""
    with spooling(running, 1), running.client(greeted=False) as client:
        client.says(greeting)
        assert client.hears().startswith("220 ")
        client.begins()
        client.says(b"x" + END)
        assert client.hears().startswith("250 2.0.0 ")


@pytest.mark.parametrize("early", [HELO + TRANSACTION, b"EHLO x\r\n", b"x", b"\0", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_speaks_before_the_banner_is_closed(on_each_loop: Live, early: bytes) -> None:
    """554 in place of the banner, or nothing at all."""
    with stopped(on_each_loop):
        client = on_each_loop.client(greeted=False)
        client.says(early)
    with client:
        said = everything(client)
        assert said == "" or (said.startswith("554 5.5.0 ") and "\n" not in said)
    assert on_each_loop.files() == []
    serves(on_each_loop)


def test_a_client_that_only_waits_long_is_none(on_each_loop: Live) -> None:
    """Connected while the on_each_loop slept, and silent."""
    with stopped(on_each_loop):
        client = on_each_loop.client(greeted=False)
    with client:
        assert client.hears().startswith("220 ")


def test_what_is_pipelined_past_data_is_no_message(worker: Live) -> None:
    """In the same segment as DATA: 554 and closed."""
    with spooling(worker, 0):
        for behind in (b"Subject: x\r\n\r\ny" + END, b".\r\n", b"x", HELO + TRANSACTION):
            with worker.client() as client:
                client.says(HELO + TRANSACTION + behind)
                said = everything(client)
                assert "354" not in said
                assert said == "" or said.splitlines()[-1].startswith("554 5.5.0 ")
    serves(worker)


def test_a_browser_sends_no_mail(worker: Live) -> None:
    """A form whose fields are a transaction: closed at its first line."""
    with spooling(worker, 0):
        for method in (b"GET", b"POST", b"CONNECT", b"PRI"):
            request = method + b" / HTTP/1.1\r\nHost: relay.example.org\r\n\r\n" + HELO + TRANSACTION
            with worker.client() as client:
                client.says(request)
                assert "354" not in everything(client)
    serves(worker)


def test_nothing_follows_quit(worker: Live) -> None:
    """What is pipelined behind it is dropped."""
    with worker.client() as client:
        client.says(HELO + b"QUIT\r\n" + HELO + TRANSACTION)
        assert everything(client).splitlines()[-1].startswith("221 ")
    assert worker.files() == []


# The PROXY protocol.


@pytest.fixture(params=["127.0.0.0/8", "192.0.2.0/24"], ids=["trusted", "stranger"], scope="module")
def behind_proxy(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Live, bool]]:
    """A worker that asks for the PROXY protocol, and whether it trusts this host."""
    settings = f'[[listener]]\naddress = "127.0.0.1"\nproxy = true\ntrusted = ["{request.param}"]'
    with live(tmp_path_factory.mktemp("proxy"), settings=settings) as running:
        yield running, "127" in request.param


@pytest.mark.parametrize(
    ("header", "may_relay"),
    [
        (LOCAL_SOURCE, True),
        (STRANGE_SOURCE, False),
        (b"PROXY UNKNOWN\r\n", False),
        (b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 1\r\n", False),
        (V2_START + b"\x20\x11\0\x0c" + bytes((127, 0, 0, 1, 127, 0, 0, 1)) + b"\0\1\0\1", False),
        (V2_START + b"\x21\0\0\0", False),
        (V2_START + b"\x21\x31\0\xd8" + bytes(216), False),
    ],
)
def test_a_header_gives_no_more_than_the_network_that_it_names(
    behind_proxy: tuple[Live, bool], header: bytes, may_relay: bool
) -> None:
    """LOCAL, UNKNOWN and other families have no right at all; without trust nobody gets in."""
    running, is_trusted = behind_proxy
    with spooling(running, is_trusted and may_relay), running.client(greeted=False) as client:
        insists(client, header)
        greeting = client.hears() if is_trusted else everything(client)
        assert greeting[:4] == ("220 " if is_trusted else "")
        if is_trusted:
            client.says(HELO, TRANSACTION)
            codes = [client.hears()[:3] for _ in range(4)]
            assert codes[-1] == ("354" if may_relay else "503"), codes
            assert codes[2] == ("250" if may_relay else "554"), codes
            if may_relay:
                client.says(b"x" + END)
                assert client.hears().startswith("250 2.0.0 ")


@pytest.mark.parametrize(
    "octets",
    [
        HELO + TRANSACTION,
        b"PROXY TCP4 127.0.0.1\r\n" + HELO + TRANSACTION,
        b"PROXY " + b"x" * 70_000,
        V2_START + b"\x21\x11\xff\xff" + b"\0" * 70_000,
        V2_START + b"\x21\x11\0\x02\0\0" + HELO + TRANSACTION,
        b"\0" * 1000,
        b"\x16\x03\x01\0\x05hello",
    ],
)
def test_what_is_no_header_is_closed_at_once(behind_proxy: tuple[Live, bool], octets: bytes) -> None:
    """Without a word, and with nothing spooled; in one write or octet by octet."""
    running, is_trusted = behind_proxy
    with spooling(running, 0):
        for writes in ([octets], each_octet(octets[:200])):
            with running.client(greeted=False) as client:
                insists(client, *writes)
                with suppress(OSError):
                    client.ends()
                assert everything(client) == ""
    if is_trusted:
        serves(running, LOCAL_SOURCE)


def test_a_second_header_is_a_command_that_there_is_not(behind_proxy: tuple[Live, bool]) -> None:
    """Whoever is behind the proxy cannot name another client."""
    running, is_trusted = behind_proxy
    with spooling(running, 0), running.client(greeted=False) as client:
        insists(client, STRANGE_SOURCE)
        if is_trusted:
            assert client.hears().startswith("220 ")
            client.says(LOCAL_SOURCE, HELO, TRANSACTION)
            assert [client.hears()[:3] for _ in range(5)] == ["500", "250", "250", "554", "503"]


def test_a_client_that_is_through_with_the_proxy_has_spoken_too_early(behind_proxy: tuple[Live, bool]) -> None:
    """What stands behind the header in the same segment came before the banner."""
    running, _ = behind_proxy
    with spooling(running, 0), running.client(greeted=False) as client:
        insists(client, LOCAL_SOURCE + HELO + TRANSACTION)
        assert "354" not in everything(client)
