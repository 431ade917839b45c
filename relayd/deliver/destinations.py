"""Destinations: all of them that have mail, made when they are needed and forgotten when they are idle.

Refuses to know the queue and single connections.
"""

import asyncio
from collections.abc import Iterable

from relayd.deliver.courier import Means
from relayd.deliver.destination import Destination
from relayd.deliver.routes import route_of


class Destinations:
    """By name, as `routes.destination_of` gives it."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._limits = means.ways.limits
        self._all: dict[str, Destination] = {}

    def __getitem__(self, name: str) -> Destination:
        destination = self._all.get(name)
        if destination is None:
            destination = self._all[name] = Destination(name, route_of(name), self._means)
        return destination

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(each.connections for each in self._all.values())

    def look_after(self, seconds: float, *, is_full: bool) -> None:
        """To be called every so many seconds, with whether the queue is full: see `Destination.relieve`."""
        for name, destination in list(self._all.items()):
            if destination.is_idle:
                del self._all[name]
            else:
                destination.relieve(seconds, is_full=is_full)

    async def stop(self, seconds: float) -> None:
        """Close what is before its final dot; what is past it has so many seconds, and then is in doubt."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        running: set[asyncio.Future[None]] = {task for each in self._all.values() for task in each.stop()}
        running = await _ended(running, min(self._limits.farewell, seconds))
        for each in self._all.values():
            each.hurry()
        running = await _ended(running, deadline - loop.time())
        for each in self._all.values():
            each.give_up()
        await _ended(running, self._limits.farewell)
        await _ended(self._means.leaving, self._limits.farewell)


async def _ended(running: "Iterable[asyncio.Future[None]]", seconds: float) -> "set[asyncio.Future[None]]":
    """Those that have not ended after so many seconds."""
    running = set(running)
    if running:
        _, running = await asyncio.wait(running, timeout=max(0.0, seconds))
    return running
