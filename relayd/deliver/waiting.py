"""What waits: the parcels of one destination that nobody has taken yet, and the couriers that wait for one.

Refuses to know what a courier does with a parcel. A courier that is idle longest is woken last, so that those
that are too many find out, and leave.
"""

import asyncio
from collections import deque

from relayd.deliver.parcel import Parcel


class Waiting:
    """`taken` counts the parcels that left by `take` and stayed away."""

    def __init__(self) -> None:
        self._parcels: deque[Parcel] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._is_closed = False
        self.taken = 0

    def __len__(self) -> int:
        return len(self._parcels)

    @property
    def first(self) -> Parcel | None:
        """The one that is next; it stays."""
        return self._parcels[0] if self._parcels else None

    def add(self, parcel: Parcel) -> bool:
        """Put one at the end; whether a courier has been idle, and comes for it."""
        if self._is_closed:
            return False
        self._parcels.append(parcel)
        return self._wake_one()

    def put_back(self, parcel: Parcel) -> None:
        """The one that was taken last was not tried."""
        self.taken -= 1
        if not self._is_closed:
            self._parcels.appendleft(parcel)

    def take(self) -> Parcel | None:
        """The next one, or None."""
        if not self._parcels:
            return None
        self.taken += 1
        return self._parcels.popleft()

    def take_beyond(self, count: int) -> list[Parcel]:
        """All but the first so many, in order."""
        kept = list(self._parcels)
        self._parcels = deque(kept[:count])
        return kept[count:]

    async def come(self, seconds: float) -> None:
        """Return when there is one, when the time is up, or when none will come any more."""
        if self._parcels or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._idle.append(waiter)
        timer = loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            if waiter in self._idle:
                self._idle.remove(waiter)

    def close(self) -> None:
        """Forget all parcels: the process ends, and the next one finds their messages where they are."""
        self._is_closed = True
        self._parcels.clear()
        while self._wake_one():
            pass

    def _wake_one(self) -> bool:
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
