"""The delivery process as a whole, in the test's own process and event loop, with a spool in a folder.

The test is the master at the other end of the channel and the worker that writes messages. The log is a list that
can be waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relayd.base import events
from relayd.base.channel import Channel, Ready, Retire, Said
from relayd.base.config import Config, load
from relayd.base.counters import Board, Slot
from relayd.base.log import Log
from relayd.deliver.delivery import DeliveryProcess
from relayd.deliver.limits import Limits
from relayd.deliver.post import Post
from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.hint import Hints
from relayd.spool.intake import Intake
from relayd.spool.journal import Journal
from relayd.spool.layout import Layout
from relayd.spool.outcome import Entry
from tests.deliver.running import LONGEST_SECONDS

MAIL = b"Received: from client.example\r\nSubject: test\r\n\r\ntext\r\n"


class Record(Log):
    """A log in memory."""

    def __init__(self) -> None:
        super().__init__("text", Path("/dev/null"))
        self.events: list[events.Event] = []
        self._written = asyncio.Event()

    def write(self, event: events.Event) -> None:
        """Keep it."""
        self.events.append(event)
        self._written.set()

    def named(self, kind: type[events.Event]) -> list[Any]:
        """Events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def has(self, kind: type[events.Event], count: int = 1) -> list[Any]:
        """Events of one kind, once there are so many."""
        await self.until(lambda: len(self.named(kind)) >= count)
        return self.named(kind)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once it is so; looked at after each event."""
        while not is_so():
            self._written.clear()
            await self._written.wait()


class Running:
    """One process, from its ready to its exit."""

    def __init__(self, config: Config, limits: Limits, disk: Disk | None) -> None:
        self.layout = Layout(str(config.spool.directory))
        self.log = Record()
        self.slot: Slot = Board(1).slot(0)
        self.hints = Hints()
        self.channel, theirs = Channel.pair()
        self.post = Post(config, frozenset(), self.hints, theirs, self.slot, self.log, limits, disk)
        self.intake = Intake(self.layout, 0)
        self.status: asyncio.Task[int] | None = None

    def write(
        self,
        *recipients: str | Recipient,
        reverse_path: str | None = "alice@example.org",
        mail: bytes = MAIL,
        **parameters: Any,
    ) -> str:
        """Commit a message, as a worker does before it gives its hint; its file name."""
        envelope = Envelope(
            arrived=datetime.now(UTC),
            reverse_path=reverse_path,
            recipients=tuple(Recipient(each) if isinstance(each, str) else each for each in recipients),
            **parameters,
        )
        draft = self.intake.begin(envelope)
        draft.write(mail)
        if draft.is_large:
            draft.finish()
        (name,) = self.intake.commit([draft])
        assert isinstance(name, str), name
        return name

    def submit(self, *recipients: str | Recipient, **parameters: Any) -> str:
        """The same with the hint."""
        name = self.write(*recipients, **parameters)
        self.hints.send([name])
        return name

    def names(self, folder: str) -> list[str]:
        """What a folder of the spool holds."""
        return sorted(path.name for path in Path(self.layout.folder(folder)).iterdir())

    def journal(self, name: str) -> list[Entry]:
        """The entries about a message."""
        return Journal(Disk(), self.layout, name.partition(",")[0]).read()

    async def start(self) -> Said | None:
        """Begin; what it says first."""
        loop = asyncio.get_running_loop()
        process = DeliveryProcess(self.post, self.layout)
        self.status = loop.create_task(process.run())
        return await self.said()

    async def said(self) -> Said | None:
        """What it says to the master next."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.channel.fileno(), readable.set)
        await readable.wait()
        loop.remove_reader(self.channel.fileno())
        heard = self.channel.receive()
        assert heard is None or isinstance(heard, Said)
        return heard

    async def retire(self, seconds: float = LONGEST_SECONDS) -> int:
        """Tell it to end, and wait for that; its exit status."""
        self.channel.send(Retire(seconds))
        return await self.ended()

    async def ended(self) -> int:
        """Its exit status."""
        assert self.status is not None
        return await self.status


def configuration(folder: Path, nameserver: tuple[str, int], port: int, settings: str = "") -> Config:
    """A configuration whose spool is in the folder, and the spool."""
    path = folder / "relayd.toml"
    path.write_text(
        'hostname = "relay.example.org"\n'
        f"[delivery]\nport = {port}\nprivate_exchangers = true\n"
        f'[dns]\nnameservers = ["{nameserver[0]}:{nameserver[1]}"]\n{settings}\n'
    )
    config = load(path, spool=folder / "spool")
    Layout(str(config.spool.directory)).create()
    return config


QUICK = Limits(idle=0.01, poll_new=0.02, farewell=0.2)


@asynccontextmanager
async def delivery(
    config: Config, *, disk: Disk | None = None, has_bug: bool = False, **limits: Any
) -> AsyncIterator[Running]:
    """A process that is ready; when the test has not ended it, it retires. It meets no bug, or should."""
    running = Running(config, replace(QUICK, **limits), disk)
    assert await running.start() == Ready()
    try:
        yield running
    finally:
        if running.status is not None and not running.status.done():
            await running.retire(0.0)
    assert bool(running.log.named(events.Bug)) == has_bug


def moved(running: Running, name: str, source: str, target: str) -> None:
    """What an operator does by hand."""
    Path(running.layout.message(source, name)).rename(running.layout.message(target, name))
