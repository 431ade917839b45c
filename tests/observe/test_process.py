"""The process of metrics: how it begins, hears its master and ends."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relayd.base.channel import (
    CANNOT_BOOT,
    RETIRED,
    Begin,
    Channel,
    Garbled,
    Ready,
    Refused,
    Reopen,
    Retire,
    Said,
    Waiting,
)
from relayd.base.config import load
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.sections import Metrics
from relayd.observe.look import Look
from relayd.observe.post import Post
from relayd.observe.process import ObserveProcess
from tests.world.network import free_port

# An address of this process alone, since others look for free ports of the usual one meanwhile.
ALONE = f"127.77.{os.getpid() % 250 + 1}.1"
SECONDS = 20.0


class Running:
    """One, with its master's end of the channel."""

    def __init__(self, folder: Path, place: Metrics, patience: float = SECONDS) -> None:
        (folder / "relayd.toml").write_text("")
        self.master, theirs = Channel.pair()
        self.board = Board(3)
        self.log_file = folder / "log"
        self.log = Log("json", self.log_file)
        config = load(folder / "relayd.toml")
        slot = self.board.slot(1)
        self.post = Post(config, place, self.board, slot, theirs, self.log, lambda: Look(), patience)
        self.ended = asyncio.ensure_future(ObserveProcess(self.post).run())

    async def hears(self) -> Said | Garbled | None:
        """What it says next."""
        while True:
            try:
                return self.master.receive()
            except BlockingIOError:
                await asyncio.sleep(0.005)

    async def get(self, path: str) -> bytes:
        """What is answered at a path."""
        reader, writer = await asyncio.open_connection(self.post.listen.address, self.post.listen.port)
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        said = await reader.read()
        writer.close()
        return said


@asynccontextmanager
async def running(
    folder: Path, address: str = ALONE, port: int = 0, patience: float = SECONDS
) -> AsyncIterator[Running]:
    """One that is ended afterwards."""
    made = Running(folder, Metrics(address, port or free_port(ALONE)), patience)
    try:
        yield made
    finally:
        made.master.send(Retire(0.0))
        await asyncio.wait([made.ended])
        made.log.flush()


def run(work: Callable[[], Awaitable[None]]) -> None:
    """In bounded time."""

    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            await work()

    asyncio.run(main())


def test_it_listens_when_it_may_and_answers_until_told_to_retire(tmp_path: Path) -> None:
    """Before that the port is another's; after it nobody answers."""

    async def work() -> None:
        async with running(tmp_path) as one:
            assert await one.hears() == Waiting()
            with pytest.raises(ConnectionRefusedError):
                await one.get("/metrics")
            one.master.send(Begin())
            assert await one.hears() == Ready()
            assert (await one.get("/metrics")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"all is well\n" in await one.get("/healthz")
            assert one.board.slot(1).get("heartbeat") > 0
            one.master.send(Retire(30.0))
            assert await one.ended == RETIRED
            # Refused, or reset where the system took it before the listener was closed.
            with pytest.raises(ConnectionError):
                await one.get("/metrics")

    run(work)


def test_it_ends_with_its_master(tmp_path: Path) -> None:
    """Before it may begin, and later."""

    async def work() -> None:
        for may_begin in (False, True):
            async with running(tmp_path) as one:
                await one.hears()
                if may_begin:
                    one.master.send(Begin())
                    await one.hears()
                one.master.close()
                assert await one.ended == RETIRED

    run(work)


def test_a_port_that_is_taken_for_good_is_said_in_one_line(tmp_path: Path) -> None:
    """With the place and the reason."""

    async def work() -> None:
        with socket.socket() as other:
            other.bind((ALONE, 0))
            other.listen()
            port = other.getsockname()[1]
            async with running(tmp_path, port=port, patience=0.0) as one:
                await one.hears()
                one.master.send(Begin())
                reason = f"metrics: cannot listen at {ALONE} port {port}: Address already in use"
                assert await one.hears() == Refused(reason)
                assert await one.ended == CANNOT_BOOT

    run(work)


def test_an_address_of_another_host_is_said_too(tmp_path: Path) -> None:
    """As it is no matter of patience."""

    async def work() -> None:
        async with running(tmp_path, "192.0.2.1") as one:
            await one.hears()
            one.master.send(Begin())
            said = await one.hears()
            assert isinstance(said, Refused)
            assert "Cannot assign requested address" in said.reason

    run(work)


def test_a_port_that_is_given_up_is_taken_then(tmp_path: Path) -> None:
    """What a killed master has left is just ending."""

    async def work() -> None:
        with socket.socket() as other:
            other.bind((ALONE, 0))
            other.listen()
            async with running(tmp_path, port=other.getsockname()[1]) as one:
                await one.hears()
                one.master.send(Begin())
                await asyncio.sleep(0.01)
                other.close()
                assert await one.hears() == Ready()

    run(work)


def test_it_may_be_told_to_retire_while_it_waits_for_the_port(tmp_path: Path) -> None:
    """And does."""

    async def work() -> None:
        with socket.socket() as other:
            other.bind((ALONE, 0))
            other.listen()
            async with running(tmp_path, port=other.getsockname()[1]) as one:
                await one.hears()
                one.master.send(Begin())
                await asyncio.sleep(0.01)
                one.master.send(Retire(0.0))
                assert await one.ended == RETIRED

    run(work)


def test_it_opens_the_log_anew_when_told(tmp_path: Path) -> None:
    """As all processes do."""

    async def work() -> None:
        async with running(tmp_path) as one:
            await one.hears()
            one.log_file.rename(tmp_path / "log.1")
            one.master.send(Reopen())
            while not one.log_file.exists():
                await asyncio.sleep(0.005)

    run(work)


def test_what_is_no_message_is_a_bug_and_ends_nothing(tmp_path: Path) -> None:
    """It is counted, and the log has it."""

    async def work() -> None:
        async with running(tmp_path) as one:
            await one.hears()
            one.master._socket.send(b"what?")
            one.master.send(Begin())
            assert await one.hears() == Ready()
            assert one.board.slot(1).get("bugs") == 1

    run(work)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["where"] == "metrics: channel"


def test_it_answers_on_ipv6(tmp_path: Path) -> None:
    """Where an address of it is written."""

    async def work() -> None:
        async with running(tmp_path, "::1") as one:
            await one.hears()
            one.master.send(Begin())
            assert await one.hears() == Ready()
            assert (await one.get("/nothing")).startswith(b"HTTP/1.1 404 ")

    run(work)
