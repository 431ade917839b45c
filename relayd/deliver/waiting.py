"""What waits: the parcels of one destination that nobody has taken yet, and the couriers that wait for one.

Each reverse-path has its own line, and they take turns: who sends much does not hold up who sends little. Refuses
to know what a courier does with a parcel. A courier that is idle longest is woken last, so that those that are too
many find out, and leave.
"""

import asyncio
from collections import OrderedDict, deque

from relayd.deliver.parcel import Parcel


class Waiting:
    """`taken` counts the parcels that left by `take` and stayed away."""

    def __init__(self) -> None:
        # In the order of their turns; none is empty.
        self._lines: OrderedDict[str | None, deque[Parcel]] = OrderedDict()
        self._count = 0
        # Each with the instant until which it waits, the one that is idle longest first. One alarm for all of them
        # goes on, and looks when it rings: a timer for each would be half the cost of its waiting.
        self._idle: list[tuple[float, asyncio.Future[None]]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._sleeping: set[asyncio.Future[None]] = set()
        self._is_closed = False
        self.taken = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_closed(self) -> bool:
        """Whether the process ends, and nothing more is to begin."""
        return self._is_closed

    @property
    def first(self) -> Parcel | None:
        """The one that is next; it stays."""
        return next(iter(self._lines.values()))[0] if self._lines else None

    def add(self, parcel: Parcel) -> bool:
        """Put one at the end of its line; whether a courier has been idle, and comes for it."""
        if self._is_closed:
            return False
        self._append(parcel)
        return self.wake_one()

    def put_back(self, parcel: Parcel) -> None:
        """The one that was taken last was not tried; it is the next."""
        self.taken -= 1
        if self._is_closed:
            return
        reverse_path = parcel.job.envelope.reverse_path
        self._lines.setdefault(reverse_path, deque()).appendleft(parcel)
        self._lines.move_to_end(reverse_path, last=False)
        self._count += 1

    def take(self) -> Parcel | None:
        """The next one, or None."""
        parcel = self._pop()
        if parcel is not None:
            self.taken += 1
        return parcel

    def take_beyond(self, count: int) -> list[Parcel]:
        """All but the first so many, in order."""
        kept = [parcel for _ in range(count) if (parcel := self._pop()) is not None]
        beyond = [parcel for _ in range(self._count) if (parcel := self._pop()) is not None]
        for parcel in kept:
            self._append(parcel)
        return beyond

    def displace(self, parcel: Parcel) -> Parcel:
        """Add one and take out the last of the longest line, which may be the same."""
        self._append(parcel)
        reverse_path = parcel.job.envelope.reverse_path
        # The new one's own line goes first where it is as long as another.
        longest = max(self._lines, key=lambda each: (len(self._lines[each]), each == reverse_path))
        line = self._lines[longest]
        self._count -= 1
        displaced = line.pop()
        if not line:
            del self._lines[longest]
        return displaced

    def _append(self, parcel: Parcel) -> None:
        reverse_path = parcel.job.envelope.reverse_path
        line = self._lines.get(reverse_path)
        if line is None:
            self._lines[reverse_path] = deque((parcel,))
        else:
            line.append(parcel)
        self._count += 1

    def _pop(self) -> Parcel | None:
        if not self._lines:
            return None
        reverse_path, line = next(iter(self._lines.items()))
        parcel = line.popleft()
        self._count -= 1
        if line:
            self._lines.move_to_end(reverse_path)
        else:
            del self._lines[reverse_path]
        return parcel

    async def come(self, seconds: float) -> None:
        """Return when there is one, when the time is up, when none will come any more, or when woken."""
        if self._count or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        idle = loop.time() + seconds, loop.create_future()
        self._idle.append(idle)
        if self._alarm is None:
            self._alarm = loop.call_at(idle[0], self._ring)
        try:
            await idle[1]
        except BaseException:
            # Who wakes one takes it out.
            if idle in self._idle:
                self._idle.remove(idle)
            raise

    def _ring(self) -> None:
        """The time of some is up, perhaps."""
        self._alarm = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        idle, self._idle = self._idle, []
        for due, waiter in idle:
            if due <= now:
                _wake(waiter)
            else:
                self._idle.append((due, waiter))
        if self._idle:
            self._alarm = loop.call_at(min(due for due, _ in self._idle), self._ring)

    async def sleep(self, seconds: float) -> None:
        """Return when the time is up, or when none will come any more."""
        if self._is_closed:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping.add(waiter)
        try:
            await _until(waiter, seconds)
        finally:
            self._sleeping.discard(waiter)

    def close(self) -> None:
        """Forget all parcels: the process ends, and the next one finds their messages where they are."""
        self._is_closed = True
        self._lines.clear()
        self._count = 0
        while self.wake_one():
            pass
        if self._alarm is not None:
            self._alarm.cancel()
        for waiter in self._sleeping:
            _wake(waiter)

    def wake_one(self) -> bool:
        """Wake the courier that became idle last; whether there was one."""
        while self._idle:
            _, waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False


async def _until(waiter: "asyncio.Future[None]", seconds: float) -> None:
    timer = asyncio.get_running_loop().call_later(seconds, _wake, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
