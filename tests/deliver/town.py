"""A town: what a destination needs around it, with a real name server and the report of every parcel.

Exchangers are the test's own; they share one port, since DNS names hosts only. `clock` may be moved by hand.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from relayd.base import events
from relayd.base.config import Config, load
from relayd.base.counters import Board
from relayd.base.sections import Route
from relayd.deliver.destination import Destination
from relayd.deliver.exchangers import Ourselves
from relayd.deliver.hop import Hop
from relayd.deliver.limits import Limits
from relayd.deliver.mail import Mail
from relayd.deliver.means import Means
from relayd.deliver.parcel import Parcel, Via
from relayd.deliver.quotas import Quotas
from relayd.deliver.ways import Ways, ways_of
from relayd.smtp.client import Phase
from relayd.spool.outcome import Kind, Outcome
from tests.deliver.fake_spool import FakeSpool
from tests.deliver.making import job, parcel
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port

ONE = """
example.net. 60 IN MX 10 mx.example.net.
mx.example.net. 60 IN A 127.0.0.2
"""
TWO_EQUAL = """
example.net. 60 IN MX 10 one.example.net.
example.net. 60 IN MX 10 two.example.net.
one.example.net. 60 IN A 127.0.0.2
two.example.net. 60 IN A 127.0.0.3
"""
TWO_TIERS = TWO_EQUAL.replace("MX 10 two", "MX 20 two")
FIRST, SECOND = "127.0.0.2", "127.0.0.3"


class Town:
    """Make it on the event loop that it is used on."""

    def __init__(self, config: Config, limits: Limits, ourselves: Ourselves | None = None) -> None:
        self.spool = FakeSpool()
        self.reports: list[tuple[Parcel, tuple[Outcome, ...], Via]] = []
        self.postponed: list[tuple[Parcel, datetime]] = []
        self.divided: list[Parcel] = []
        self.events: list[events.Event] = []
        self.bugs: list[Exception] = []
        self.now: float | None = None
        # Whether the spool is not behind with what was delivered.
        self.is_near = asyncio.Event()
        self.is_near.set()
        self.counters = Board(1).slot(0)
        self._reported = asyncio.Event()
        self._noted = asyncio.Event()
        self.ways: Ways = replace(
            ways_of(config, frozenset(), limits, self.counters, self._write, random.Random(1)),
            clock=self._clock,
            ourselves=ourselves or Ourselves(config.hostname, frozenset()),
        )
        self.means = Means(
            ways=self.ways,
            quotas=Quotas(config.delivery.limits),
            mail=Mail(self.spool),
            report=self._report,
            promise=None,
            is_behind=lambda: not self.is_near.is_set(),
            caught_up=self._caught_up,
            divide=self.divided.append,
            postpone=lambda parcel, due: self.postponed.append((parcel, due)),
            bug=lambda where, error: self.bugs.append(error),
        )

    async def _caught_up(self) -> None:
        await self.is_near.wait()

    def hop(self, destination: str = "example.net", route: Route | None = None) -> Hop:
        """The way to a destination."""
        return Hop(destination, route, self.ways)

    def destination(self, name: str = "example.net", route: Route | None = None) -> Destination:
        """A destination."""
        return Destination(name, route, self.means)

    async def reported(self, count: int) -> list[tuple[Parcel, tuple[Outcome, ...], Via]]:
        """The reports, once there are so many."""
        while len(self.reports) < count:
            self._reported.clear()
            await self._reported.wait()
        return self.reports

    def kinds(self) -> Counter[Kind | None]:
        """How often each kind was reported; None is a parcel that was not tried."""
        return Counter(each.kind for _, found, _ in self.reports for each in found) + Counter(
            None for _, found, _ in self.reports if not found
        )

    def replies(self) -> list[str]:
        """All replies that were reported, in order."""
        return [str(each.reply) for _, found, _ in self.reports for each in found]

    def named(self, kind: type[events.Event]) -> list[events.Event]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def noted(self, kind: type[events.Event], count: int) -> list[events.Event]:
        """Events of one kind, once there are so many."""
        while len(self.named(kind)) < count:
            self._noted.clear()
            await self._noted.wait()
        return self.named(kind)

    def _write(self, event: events.Event) -> None:
        self.events.append(event)
        self._noted.set()

    def _clock(self) -> float:
        return time.monotonic() if self.now is None else self.now

    def _report(self, reported: Parcel, outcomes: tuple[Outcome, ...], via: Via) -> None:
        self.reports.append((reported, outcomes, via))
        self._reported.set()


class Surroundings:
    """The name server and the exchangers, which live in threads of their own, and the configuration for them."""

    def __init__(self, folder: Path, zone: str, addresses: Sequence[str]) -> None:
        self.port = free_port(*addresses)
        self.names = NameServer(zone)
        self.exchangers = [Exchanger(address, self.port) for address in addresses]
        self._folder = folder

    def town(
        self, settings: str = "", *, private: bool = True, ourselves: Ourselves | None = None, **limits: Any
    ) -> Town:
        """A town in these surroundings; `settings` are more keys of [delivery], `limits` see `impatient`."""
        path = self._folder / "relayd.toml"
        host, port = self.names.address
        path.write_text(
            f'hostname = "relay.example.org"\n'
            f"[delivery]\nport = {self.port}\nprivate_exchangers = {str(private).lower()}\n{settings}\n"
            f'[dns]\nnameservers = ["{host}:{port}"]\n'
        )
        return Town(load(path), impatient(**limits), ourselves)


def impatient(**limits: Any) -> Limits:
    """Limits for tests; a name of a phase in lower case is the time for that phase."""
    phases = {phase.name.lower(): phase for phase in Phase}
    replies = dict(Limits().replies)
    replies.update({phases[name]: limits.pop(name) for name in list(limits) if name in phases})
    return replace(Limits(replies=replies), **limits)


@contextmanager
def surroundings(folder: Path, zone: str = ONE, *addresses: str) -> Iterator[Surroundings]:
    """A name server with this zone, and exchangers at these addresses (the first one when none is named)."""
    made = Surroundings(folder, zone, addresses or (FIRST,))
    with ExitStack() as stack:
        stack.enter_context(made.names)
        for each in made.exchangers:
            stack.enter_context(each)
        yield made


def letters(count: int, recipient: str = "bob@example.net") -> list[Parcel]:
    """Parcels of so many messages, each with an ID of its own."""
    return [parcel(job(recipient, message_id=f"{number:017}")) for number in range(count)]


async def carried(town: Town, parcels: Sequence[Parcel]) -> Destination:
    """Hand them to the destination all at once, and wait until all are reported and everybody has left."""
    destination = town.destination()
    for each in parcels:
        destination.add(each)
    await town.reported(len(parcels))
    await left(town, destination)
    return destination


async def left(town: Town, destination: Destination) -> None:
    """Wait until no courier is under way and no connection is open."""
    me = asyncio.current_task()
    while others := [task for task in asyncio.all_tasks() if task is not me]:
        await asyncio.wait(others)
    if town.means.leaving:
        await asyncio.wait(town.means.leaving)
    assert destination.is_idle
