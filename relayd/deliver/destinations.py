"""Destinations: all of them that have mail, made when they are needed and forgotten when they are idle.

Refuses to know the queue and single connections.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from relayd.deliver.destination import Destination
from relayd.deliver.lanes import error_of, way_of
from relayd.deliver.means import Means
from relayd.deliver.parcel import Parcel, Via, refusal
from relayd.deliver.routes import route_of
from relayd.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Refusing:
    """What a route that refuses its mail has in a destination's place: for mail that was taken before it did."""

    answer: Reply
    means: Means

    def add(self, parcel: Parcel) -> None:
        """Its recipients get the route's reply."""
        self.means.report(parcel, refusal(parcel, self.answer, Via(), datetime.now(UTC)), Via())


class Destinations:
    """By name, as `Lanes` has it."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._limits = means.ways.limits
        self._all: dict[str, Destination] = {}

    def __getitem__(self, name: str) -> Destination | Refusing:
        destination = self._all.get(name)
        if destination is None:
            route = route_of(self._means.ways.routes, way_of(name))
            answer = None if route is None else error_of(route)
            if answer is not None:
                return Refusing(answer, self._means)
            destination = self._all[name] = Destination(name, route, self._means)
        return destination

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(each.connections for each in self._all.values())

    def look_after(self, seconds: float, *, is_full: bool) -> None:
        """To be called every so many seconds, with whether the queue is full: see `Destination.relieve`."""
        # However many they are, those that carry nothing leave half of the queue to the others.
        share = self._limits.in_flight // (2 * max(1, len(self._all)))
        least = max(1, min(self._limits.backlog_least, share))
        for name, destination in list(self._all.items()):
            if destination.is_idle:
                del self._all[name]
            else:
                destination.relieve(seconds, least, is_full=is_full)

    async def stop(self, over: asyncio.Event) -> None:
        """Close what is before its final dot; what is past it is in doubt when the time is `over`."""
        running: set[asyncio.Future[None]] = {task for each in self._all.values() for task in each.stop()}
        running = await _ended(running, self._limits.farewell, over)
        for each in self._all.values():
            each.hurry()
        running = await _ended(running, None, over)
        for each in self._all.values():
            each.give_up()
        await _ended(running, self._limits.farewell)
        await _ended(self._means.leaving, self._limits.farewell)


async def _ended(
    running: "Iterable[asyncio.Future[None]]", seconds: float | None, over: asyncio.Event | None = None
) -> "set[asyncio.Future[None]]":
    """Those that have not ended after so many seconds, or when the time is over before that."""
    running = set(running)
    if not running:
        return running
    if over is None:
        return (await asyncio.wait(running, timeout=seconds))[1]
    all_of_them = asyncio.ensure_future(asyncio.wait(running, timeout=seconds))
    alarm = asyncio.ensure_future(over.wait())
    await asyncio.wait((all_of_them, alarm), return_when=asyncio.FIRST_COMPLETED)
    all_of_them.cancel()
    alarm.cancel()
    return {each for each in running if not each.done()}
