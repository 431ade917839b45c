"""STARTTLS and implicit TLS on the wire: injection, garbage, stalls and half-closed handshakes (CVE-2011-0411).

Judged by the messages in new/ and by what the worker writes down; the worker goes on in every case.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from relayd.base.config import Config
from relayd.base.users import Users
from tests.hostile.machine import END
from tests.receive.live import Client, Live, live
from tests.world.authority import certify

TRANSACTION = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
EHLO = b"EHLO client.example\r\n"
SECRET = "s3cret-word"
MEBIBYTE = 1 << 20
GARBAGE = [
    b"\0" * 100,
    b"\xff" * 100,
    b"EHLO client.example\r\n" * 5,
    b"GET / HTTP/1.1\r\n\r\n",
    # A record that says it has more octets than any may.
    b"\x16\x03\x01\xff\xff" + b"x" * 200,
    # A record of a type that there is not, and an SSLv2 hello.
    b"\x63\x03\x03\x00\x05hello",
    b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\0" * 40,
    # An alert, application data before any handshake, a hello that is cut short by the next one.
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x05hello",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x50\x03" * 3,
]


@pytest.fixture(params=["starttls", "implicit"])
def mode(request: pytest.FixtureRequest) -> str:
    """How TLS begins."""
    said: str = request.param
    return said


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The part of a configuration that names a certificate, and a file of one user."""
    folder = tmp_path_factory.mktemp("papers")
    made = certify(folder, "relay.example.org", "127.0.0.1")
    Users({}).added("user", SECRET).write(folder / "users")
    return f"""
        [tls]
        certificate = "{made.certificate}"
        key = "{made.key}"
        [auth]
        users = "{folder / "users"}"
    """


@contextmanager
def serving(folder: Path, mode: str, papers: str, **options: Any) -> Iterator[Live]:
    """A worker with all that TLS needs."""
    settings = f'[[listener]]\naddress = "127.0.0.1"\ntls = "{mode}"\n{papers}'
    with live(folder, settings=settings, **options) as running:
        yield running


@pytest.fixture
def worker(tmp_path: Path, mode: str, papers: str) -> Iterator[Live]:
    """One that waits as long as usual."""
    with serving(tmp_path, mode, papers) as running:
        yield running


def impatient(config: Config) -> Config:
    """The same, with a short timeout."""
    return replace(config, session=replace(config.session, timeout=0.1))


def at_the_handshake(running: Live, mode: str, *behind: bytes) -> Client:
    """A client whose next octets are to be TLS; `behind` goes out in one segment with STARTTLS."""
    if mode == "implicit":
        client = running.client(greeted=False)
        client.says(*behind)
        return client
    client = running.client()
    client.says(EHLO)
    while client.hears()[3:4] != " ":
        pass
    client.says(b"STARTTLS\r\n", *behind)
    return client


def is_alive(running: Live, mode: str) -> None:
    """It still serves, and under TLS."""
    with at_the_handshake(running, mode) as client:
        if mode == "starttls":
            assert client.hears().startswith("220 ")
        client.starts_tls()
        if mode == "implicit":
            assert client.hears().startswith("220 ")
        client.says(EHLO)
        assert client.hears() == "250-relay.example.org"


def test_what_is_injected_in_the_clear_is_never_obeyed(worker: Live, mode: str) -> None:
    """In the segment of STARTTLS, or where TLS should begin: closed, and nothing is spooled."""
    for behind in (EHLO + TRANSACTION, TRANSACTION, b"NOOP\r\n", b"x", b"\r\n", b"QUIT\r\n"):
        with at_the_handshake(worker, mode, behind) as client:
            client.ends()
            heard = client.hears_all()
            assert not any(line.startswith(("250", "354", "334")) for line in heard), (behind, heard)
    assert worker.files() == []
    is_alive(worker, mode)


def test_garbage_in_place_of_a_handshake_ends_the_session_alone(worker: Live, mode: str) -> None:
    """With an alert or without; what is said in the clear is nothing."""
    for garbage in GARBAGE:
        with at_the_handshake(worker, mode) as client:
            if mode == "starttls":
                assert client.hears().startswith("220 ")
            client.says(garbage)
            client.ends()
            rest = b""
            with suppress(ConnectionResetError):
                while octets := client.socket.recv(4096):
                    rest += octets
            assert not rest.startswith((b"2", b"4", b"5")), garbage
        assert worker.event("tls.failed")["reason"].isprintable()
        worker.event("session.closed")
    is_alive(worker, mode)


def test_a_handshake_that_stalls_is_ended(tmp_path: Path, mode: str, papers: str) -> None:
    """By the deadline, without a word in the clear."""
    with serving(tmp_path, mode, papers, change=impatient) as running:
        for said in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
            with at_the_handshake(running, mode) as client:
                if mode == "starttls":
                    assert client.hears().startswith("220 ")
                client.says(said)
                with suppress(ConnectionResetError):
                    assert client.socket.recv(4096) == b"", said
            assert running.event("session.closed")["reason"] == "timeout"


@pytest.mark.parametrize("mode", ["starttls"])
def test_a_user_and_a_transaction_from_before_do_not_live_on(worker: Live) -> None:
    """Under TLS the client begins anew."""
    with worker.client() as client:
        client.says(EHLO + TRANSACTION[: TRANSACTION.index(b"DATA")] + b"RSET\r\nNOOP\r\n")
        while client.hears() != "250 HELP":
            pass
        assert [client.hears()[:3] for _ in range(4)] == ["250"] * 4
        client.says(b"STARTTLS\r\n")
        assert client.hears().startswith("220 ")
        client.starts_tls()
        client.says(TRANSACTION)
        assert [client.hears()[:3] for _ in range(3)] == ["503"] * 3
    assert worker.files() == []


def test_plain_octets_inside_a_tls_session_end_it(worker: Live, mode: str) -> None:
    """Somebody in the middle who writes into the connection: nothing of it is a command or mail data."""
    with at_the_handshake(worker, mode) as client:
        if mode == "starttls":
            client.hears()
        raw = socket.socket(fileno=os.dup(client.socket.fileno()))
        client.starts_tls()
        if mode == "implicit":
            client.hears()
        client.says(EHLO + TRANSACTION)
        while not client.hears().startswith("354"):
            pass
        client.says(b"Subject: x\r\n")
        raw.sendall(b"\r\n.\r\n" + TRANSACTION + b"y" + END)
        raw.close()
        assert worker.event("session.closed")["reason"].startswith("TLS: ")
    assert worker.files() == []
    assert worker.files("tmp") == []
    is_alive(worker, mode)


def test_a_truncated_tls_session_is_no_end_of_data(worker: Live, mode: str) -> None:
    """The socket ends inside the mail data without a word of TLS about it: no message."""
    with at_the_handshake(worker, mode) as client:
        if mode == "starttls":
            client.hears()
        client.starts_tls()
        if mode == "implicit":
            client.hears()
        client.says(EHLO + TRANSACTION)
        while not client.hears().startswith("354"):
            pass
        client.says(b"Subject: x\r\n\r\nbody\r\n.")
        client.ends()
        worker.event("session.closed")
    assert worker.files() == []
    assert worker.files("tmp") == []


@pytest.mark.parametrize("mode", ["implicit"])
def test_who_speaks_in_tls_before_the_banner_is_no_client(worker: Live) -> None:
    """The first commands come in one segment with the end of the handshake: no banner, and nothing obeyed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with worker.client(greeted=False) as client:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.says(outgoing.read())
                incoming.write(client.socket.recv(65_536))
        tls.write(EHLO + TRANSACTION)
        client.says(outgoing.read())
        while octets := client.socket.recv(65_536):
            incoming.write(octets)
        assert tls.read(65_536).startswith(b"554 5.5.0 ")
    assert worker.files() == []


def secure(running: Live, mode: str) -> Client:
    """A client under TLS, with the greeting read."""
    client = at_the_handshake(running, mode)
    if mode == "starttls":
        assert client.hears().startswith("220 ")
    client.starts_tls()
    if mode == "implicit":
        assert client.hears().startswith("220 ")
    return client


@pytest.mark.parametrize("mode", ["implicit"])
@pytest.mark.parametrize("beginning", [b"", b"AUTH PLAIN ", b"BDAT 99999999999\r\n"])
def test_megabytes_inside_tls_are_not_kept(worker: Live, mode: str, beginning: bytes) -> None:
    """No more than in the clear: a record at a time."""
    secure(worker, mode).__exit__(None, None, None)
    before = psutil.Process(worker.pid).memory_info().rss
    with secure(worker, mode) as client:
        client.says(EHLO, beginning)
        with suppress(OSError):
            for _ in range(32):
                client.says(b"x" * MEBIBYTE)
        assert psutil.Process(worker.pid).memory_info().rss - before < 24 * MEBIBYTE
    is_alive(worker, mode)


@pytest.mark.long
def test_handshakes_that_are_never_done_leave_nothing(worker: Live, mode: str) -> None:
    """A thousand clients that say hello and vanish: descriptors and memory are as before."""
    hello = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x").do_handshake()
    greeting = hello.read()
    is_alive(worker, mode)
    process = psutil.Process(worker.pid)
    files, before = process.num_fds(), process.memory_info().rss
    for number in range(1000):
        client = at_the_handshake(worker, mode)
        if mode == "starttls":
            client.hears()
        client.says(greeting[: len(greeting) - number % 2 * 10])
        client.dies()
    for _ in range(1000):
        is_alive(worker, mode)
        if process.num_fds() <= files:
            break
    assert process.num_fds() <= files
    assert process.memory_info().rss - before < 32 * MEBIBYTE
