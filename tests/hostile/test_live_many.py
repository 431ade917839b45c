"""Many: connections without end, sessions without a word, replies that nobody reads; the worker's memory stays.

What is counted is the worker's own descriptors and memory, and that somebody else is served meanwhile.
"""

import os
import resource
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.hostile.machine import END
from tests.receive.live import Client, Live, live

MEBIBYTE = 1 << 20
EHLO = b"EHLO client.example\r\n"
PATHS = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\n"
CONNECTS = 20_000


def memory(running: Live) -> int:
    """The worker's resident memory, in octets."""
    size: int = psutil.Process(running.pid).memory_info().rss
    return size


def descriptors(running: Live) -> int:
    """How many the worker has open."""
    return len(os.listdir(f"/proc/{running.pid}/fd"))


def connected(running: Live, source: str) -> socket.socket:
    """A connection from this loopback address."""
    return socket.create_connection(running.address, 10, (source, 0))


def greeting(connection: socket.socket) -> bytes:
    """What is said first, or nothing where it was closed."""
    with suppress(ConnectionResetError):
        return connection.recv(4096)
    return b""


def serves(running: Live) -> None:
    """A client's message is taken."""
    with running.client() as client:
        client.begins()
        client.says(b"x" + END)
        assert client.hears().startswith("250 2.0.0 ")


def flood(running: Live, connects: int) -> None:
    """Connect and vanish, in each of some ways; then the worker has what it had before."""
    serves(running)
    files, before = descriptors(running), memory(running)
    with ThreadPoolExecutor(1) as reader:
        # Whoever reads the log to its end finds no defect in it.
        log = reader.submit(running.event, "no.such.event")
        for number in range(connects):
            with Client(running.address, greeted=number % 4 == 0) as client:
                match number % 4:
                    case 0:
                        client.says(EHLO)
                        client.dies()
                    case 1:
                        client.dies()
                    case 2:
                        client.ends()
                        client.hears_all()
        for _ in range(1000):
            serves(running)
            if descriptors(running) <= files:
                break
        assert descriptors(running) <= files
        assert memory(running) - before < 24 * MEBIBYTE
        running.retire(0.0)
        assert isinstance(log.exception(20), EOFError)


def test_an_address_has_so_many_sessions_and_no_more(tmp_path: Path) -> None:
    """421 at once for those beyond; another address gets in, and who is served goes on."""
    with live(tmp_path, settings="[session]\nper_client = 5") as running, ExitStack() as open_:
        served = open_.enter_context(running.client())
        for _ in range(4):
            assert greeting(open_.enter_context(connected(running, "127.0.0.1"))).startswith(b"220 ")
        for _ in range(5):
            said = greeting(open_.enter_context(connected(running, "127.0.0.1")))
            assert said == b"" or said.startswith(b"421 4.7.0 ")
        assert greeting(open_.enter_context(connected(running, "127.0.0.2"))).startswith(b"220 ")
        served.begins()
        served.says(b"x" + END)
        assert served.hears().startswith("250 2.0.0 ")


def test_whoever_holds_all_sessions_does_not_keep_others_out(tmp_path: Path) -> None:
    """Short of descriptors: one address is stopped before the room is used up, and who is served goes on."""
    with live(tmp_path, files=psutil.Process().num_fds() + 180) as running, ExitStack() as open_:
        served = open_.enter_context(running.client())
        served.begins()
        said = [greeting(open_.enter_context(connected(running, "127.0.0.1"))) for _ in range(150)]
        taken = [each for each in said if each.startswith(b"220 ")]
        assert 10 < len(taken) < 150
        assert {each[:10] for each in said} <= {b"220 relay.", b"421 4.3.2 ", b"421 4.7.0 ", b""}
        for number in range(2, 7):
            assert greeting(open_.enter_context(connected(running, f"127.0.0.{number}"))).startswith(b"220 ")
        served.says(b"x" + END)
        assert served.hears().startswith("250 2.0.0 ")


def test_replies_that_nobody_reads_stay_few(on_each_loop: Live) -> None:
    """Transactions without end, and no reply read: the on_each_loop stops reading, and others are served."""
    group = PATHS + b"BDAT 3 LAST\r\nx\r\n"
    serves(on_each_loop)
    before = memory(on_each_loop)
    with on_each_loop.client(buffer=4096) as client:
        client.says(EHLO)
        client.socket.setblocking(False)
        blocked = sent = 0
        while blocked < 50 and sent < 32 * MEBIBYTE:
            try:
                sent += client.socket.send(group * 100)
                blocked = 0
            except BlockingIOError:
                blocked += 1
                serves(on_each_loop)
            except ConnectionError:
                break
        assert memory(on_each_loop) - before < 24 * MEBIBYTE
        client.dies()
    serves(on_each_loop)


@pytest.mark.parametrize("beginning", [b"", b"MAIL FROM:<", b"AUTH PLAIN ", b"BDAT 99999999999\r\n", b"\0"])
def test_megabytes_that_are_no_line_are_not_kept(worker: Live, beginning: bytes) -> None:
    """Sent in one go: the worker's memory does not follow."""
    serves(worker)
    before = memory(worker)
    with worker.client() as client:
        client.says(EHLO, beginning)
        with suppress(ConnectionError):
            for _ in range(64):
                client.says(b"x" * MEBIBYTE)
        assert memory(worker) - before < 16 * MEBIBYTE
        client.dies()
    serves(worker)


def test_connections_come_and_go(on_each_loop: Live) -> None:
    """A few hundred: no descriptor and no memory is left of them."""
    flood(on_each_loop, 400)


@pytest.mark.long
def test_tens_of_thousands_of_connections_come_and_go(on_each_loop: Live) -> None:
    """The same for as many as a flood has."""
    flood(on_each_loop, CONNECTS)


@pytest.mark.long
def test_thousands_of_sessions_without_a_word_cost_little(tmp_path: Path) -> None:
    """Two thousand idle sessions of many addresses; one more is served while they wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with live(tmp_path, files=8192) as running, ExitStack() as open_:
            serves(running)
            before = memory(running)
            for number in range(2000):
                source = f"127.{1 + number // 250}.0.{1 + number % 250}"
                assert greeting(open_.enter_context(connected(running, source))).startswith(b"220 ")
            assert (memory(running) - before) / 2000 < 20_000
            serves(running)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.long
def test_messages_that_never_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Four hundred sessions, each with a quarter of a MiB of mail data and no end: 100 MB, which are not kept."""
    line = b"x" * 998 + b"\r\n"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with live(tmp_path, files=8192) as running, ExitStack() as open_:
            serves(running)
            before = most = memory(running)
            for number in range(400):
                client = open_.enter_context(running.client(source=f"127.0.0.{1 + number % 8}"))
                client.begins()
                client.says(b"Subject: x\r\n\r\n", line * 250)
            # What is on its way is read meanwhile.
            for _ in range(100):
                serves(running)
                most = max(most, memory(running))
            assert most - before < 64 * MEBIBYTE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
