"""A house: a worker without listeners, and a transport that does nothing by itself.

What an event loop does at its leisure happens here one step at a time; worker, spool and committer are the real
ones.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from relayd.base.channel import Channel
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.tally import Tally
from relayd.receive.connection import Connection
from relayd.receive.worker import Post, Worker
from relayd.spool.disk import Disk
from relayd.spool.hint import Hints
from tests.receive.live import TRANSACTION, configuration

BEGINNING = b"HELO client.example\r\n" + TRANSACTION


class Transport(asyncio.Transport):
    """A socket that does nothing by itself. Calls that uvloop does not like on a closing transport fail."""

    def __init__(self, peer: tuple[str, int] | None = ("127.0.0.1", 40_000)) -> None:
        super().__init__({"peername": peer, "sockname": ("127.0.0.1", 25)})
        self.written = b""
        self.reads = True
        self.switches = 0
        self.is_closed = self.is_aborted = False
        self.was_written = asyncio.Event()
        self.protocol: asyncio.Protocol

    def write(self, data: Any) -> None:
        assert not self.is_closing()
        self.written += bytes(data)
        self.was_written.set()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        self._switch(False)

    def resume_reading(self) -> None:
        self._switch(True)

    def _switch(self, wanted: bool) -> None:
        assert not self.is_closing()
        assert self.reads is not wanted
        self.reads = wanted
        self.switches += 1

    def taken(self) -> bytes:
        """What was written since the last call."""
        written, self.written = self.written, b""
        self.was_written.clear()
        return written

    def replies(self) -> list[str]:
        """The same line by line."""
        return self.taken().decode("ascii").splitlines()

    async def next_replies(self) -> list[str]:
        """What is written next."""
        await asyncio.wait_for(self.was_written.wait(), 10)
        return self.replies()


class Gate(Disk):
    """A disk on which one step waits until it is let go; `raises` is what the step then fails with."""

    def __init__(self, step: str, raises: Exception | None = None) -> None:
        self._step = step
        self._raises = raises
        self.reached = threading.Event()
        self.opened = threading.Event()

    def _wait(self, step: str) -> None:
        if step == self._step:
            self.reached.set()
            assert self.opened.wait(10)
            if self._raises is not None:
                raise self._raises

    def write(self, fd: int, octets: bytes) -> None:
        self._wait("write")
        super().write(fd, octets)

    def sync(self, fd: int) -> None:
        self._wait("sync")
        super().sync(fd)

    def sync_folder(self, path: str) -> None:
        if path.endswith("/new"):
            self._wait("sync_folder")
        super().sync_folder(path)


class House:
    """A worker without listeners, and what it has written down."""

    def __init__(
        self, folder: Path, disk: Disk | None = None, settings: str = "", memory: Callable[[], float] = lambda: 1.0
    ) -> None:
        self.spool = folder / "spool"
        self._log = folder / "log"
        config = configuration(folder, settings or '[relay]\npostmaster = "ops@example.org"')
        _, theirs = Channel.pair()
        self.tally = Tally(2)
        self.post = Post(
            config,
            [],
            Hints(),
            theirs,
            Board(1).slot(0),
            Log("json", self._log),
            self.tally.hand(0),
            disk or Disk(),
            grace=0.05,
            memory=memory,
            wrong_password=0.001,
        )
        self.worker = Worker(self.post)

    def connection(self, transport: Transport) -> Connection:
        """A session that has been greeted."""
        connection = Connection(self.worker, self.post.config.listeners[0])
        transport.set_protocol(connection)
        connection.connection_made(transport)
        assert transport.replies()[0].startswith("220 ")
        return connection

    def files(self, folder: str) -> list[str]:
        """The names in a folder of the spool."""
        return os.listdir(self.spool / folder)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log says of this kind."""
        events = [json.loads(line) for line in self._log.read_bytes().splitlines()]
        return [event for event in events if event["event"] == name]

    def end(self) -> None:
        """Let the threads go, and see that nothing unexpected happened."""
        self.worker.end_threads(hanging=False)
        assert self.events("bug") == []


def later(seconds: float) -> float:
    """The loop's clock in so many seconds."""
    return asyncio.get_running_loop().time() + seconds


async def reached(gate: Gate) -> None:
    """Wait until the disk is at its gate."""
    assert await asyncio.to_thread(gate.reached.wait, 10)


async def ended(house: House, sessions: int) -> None:
    """Wait until so many sessions are written down as closed."""
    async with asyncio.timeout(10):
        while len(house.events("session.closed")) < sessions:
            await asyncio.sleep(0)


Play = Callable[[House, Transport], Coroutine[Any, Any, None]]
