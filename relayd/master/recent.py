"""The recent past: how often processes came again, and what became of deliveries, in a window of time. Pure.

It forgets what is older. Refuses to judge.
"""

from collections import deque
from typing import NamedTuple

_EVERY_SECONDS = 10.0
# A long window is sampled less often, so that memory stays small.
_SAMPLES = 360


class Past(NamedTuple):
    """What happened in the last `seconds`, at most the window's."""

    seconds: float
    restarts: int
    delivered: int
    undelivered: int


class _Sample(NamedTuple):
    at: float
    delivered: int
    undelivered: int


class Recent:
    """All instants are monotonic, and the window, in seconds, may be another one each time."""

    def __init__(self, now: float, delivered: int = 0, undelivered: int = 0) -> None:
        """With the totals as they stand when it begins: those of before an upgrade are no news."""
        self._began = now
        self._samples = deque([_Sample(now, delivered, undelivered)])
        # No more of them matter than a crash loop of all children makes.
        self._restarts: deque[float] = deque(maxlen=10_000)

    def restarted(self, now: float) -> None:
        """A process died and comes again."""
        self._restarts.append(now)

    def past(self, now: float, window: float, delivered: int, undelivered: int) -> Past:
        """What happened since the window began, with the totals as they stand now; they are sampled by this."""
        if now - self._samples[-1].at >= max(_EVERY_SECONDS, window / _SAMPLES):
            self._samples.append(_Sample(now, delivered, undelivered))
        # One sample at or before the beginning of the window is what the totals are held against.
        while len(self._samples) > 1 and self._samples[1].at <= now - window:
            self._samples.popleft()
        while self._restarts and self._restarts[0] <= now - window:
            self._restarts.popleft()
        first = self._samples[0]
        return Past(
            seconds=min(window, now - self._began),
            restarts=len(self._restarts),
            delivered=max(0, delivered - first.delivered),
            undelivered=max(0, undelivered - first.undelivered),
        )
