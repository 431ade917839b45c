"""Slow clients: whoever sends only to keep a session open is ended, by clocks that a test sets."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.visit import STRANGER, House, play
from tests.receive.house import Transport, later

TIMEOUT = 300.0
POSTMASTER = b"RCPT TO:<postmaster>\r\n"
HEAD = b"EHLO client.example\r\nMAIL FROM:<a@client.example>\r\n" + POSTMASTER
DATA = [b"DATA\r\n"]
CHUNKS = [b"BDAT 9000000\r\n"]


def scene(
    folder: Path, run: Callable[[House, Transport, Any], Coroutine[Any, Any, None]], peer: str, settings: str = ""
) -> None:
    """One session of this client."""

    async def main(house: House) -> None:
        transport = Transport((peer, 40_000))
        connection = house.connection(transport)
        await run(house, transport, connection)
        if not transport.is_closing():
            connection.eof_received()
        connection.connection_lost(None)

    traces = play(folder, main, settings)
    assert traces.files == []
    assert list((folder / "spool" / "tmp").iterdir()) == []


@pytest.mark.parametrize("way", [DATA, CHUNKS], ids=["DATA", "BDAT"])
def test_mail_data_below_the_least_rate_is_ended(tmp_path: Path, way: list[bytes]) -> None:
    """A stranger has a minute of grace, and then 500 octets a second on the whole."""

    async def run(house: House, transport: Transport, connection: Any) -> None:
        for write in (HEAD, *way):
            connection.data_received(write)
        connection.data_received(b"x" * 998 + b"\r\n")
        connection.sweep(later(55), TIMEOUT)
        assert not transport.is_closing()
        connection.sweep(later(80), TIMEOUT)
        assert transport.is_closing()
        assert transport.replies()[-1].startswith("421 ")

    scene(tmp_path, run, STRANGER)


@pytest.mark.parametrize("way", [DATA, CHUNKS], ids=["DATA", "BDAT"])
def test_mail_data_of_an_honest_rate_is_not(tmp_path: Path, way: list[bytes]) -> None:
    """Two minutes for sixty thousand octets."""

    async def run(house: House, transport: Transport, connection: Any) -> None:
        for write in (HEAD, *way, *[b"x" * 998 + b"\r\n"] * 60):
            connection.data_received(write)
        connection.sweep(later(120), TIMEOUT)
        assert not transport.is_closing()

    scene(tmp_path, run, STRANGER)


def test_one_message_takes_no_more_than_its_time(tmp_path: Path) -> None:
    """Twelve timeouts, or what the largest message needs at the least rate, however much comes and is dropped."""
    settings = '[relay]\npostmaster = "ops@example.org"\n[session]\nmaximum_message = "1 MB"'

    async def run(house: House, transport: Transport, connection: Any) -> None:
        for write in (HEAD, *DATA, *[b"x" * 99_998 + b"\r\n"] * 100):
            connection.data_received(write)
            async with asyncio.timeout(10):
                while connection.is_busy:
                    await asyncio.sleep(0)
        connection.sweep(later(10 * TIMEOUT), 20 * TIMEOUT)
        assert not transport.is_closing()
        connection.data_received(b"x" * 98 + b"\r\n")
        connection.sweep(later(13 * TIMEOUT), TIMEOUT)
        assert transport.is_closing()

    scene(tmp_path, run, STRANGER, settings)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"N"],
        [b"NOOP\r"],
        [b"EHLO x\r\nMAIL FROM:<"],
        [HEAD],
        [HEAD, b"DATA\r\n"],
        [HEAD, b"BDAT 5\r\nxx"],
        [HEAD, b"BDAT 2\r\nxx"],
        [b"BDAT 99999999\r\nxx"],
    ],
)
def test_silence_in_any_state_is_ended(tmp_path: Path, said: list[bytes]) -> None:
    """Also inside a chunk that nobody wants, and between two chunks."""

    async def run(house: House, transport: Transport, connection: Any) -> None:
        for write in said:
            connection.data_received(write)
        connection.sweep(later(30), TIMEOUT)
        assert not transport.is_closing()
        connection.sweep(later(TIMEOUT + 1), TIMEOUT)
        assert transport.is_closing()
        assert transport.replies()[-1].startswith("421 ")

    scene(tmp_path, run, STRANGER)


@pytest.mark.parametrize("before", [b"", b"EHLO x\r\n", b"BDAT 99999999\r\n"])
def test_octets_that_come_to_nothing_gain_no_time(tmp_path: Path, before: bytes) -> None:
    """A line that never ends, or a chunk that nobody wants, octet by octet: the clock runs from the last reply."""

    async def run(house: House, transport: Transport, connection: Any) -> None:
        connection.data_received(before)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(300):
            connection.data_received(b"x")
        connection.sweep(began + TIMEOUT + 1, TIMEOUT)
        assert transport.is_closing()

    scene(tmp_path, run, STRANGER)
