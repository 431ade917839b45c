"""The recent past: how often processes came again, and whether all deliveries fail, in a window of time. Pure.

It forgets what is older, but for this: where all deliveries failed, they do until one succeeds. A destination
that cannot be reached is tried ever less often, and a window in which nothing was tried is no better than the one
before. Refuses to judge.
"""

from collections import deque
from typing import NamedTuple

from relayd.base.sections import Health

_EVERY_SECONDS = 10.0
# A long window is sampled less often, so that memory stays small.
_SAMPLES = 360


class Past(NamedTuple):
    """What happened in the last `seconds`, at most the window's.

    `recent_failures` are the attempts in it that failed. Where all did, and were enough to say so, `failures` are
    those since the last success, which was `failing_seconds` ago, or since the start; else both are 0.
    """

    seconds: float
    restarts: int
    recent_failures: int
    failures: int
    failing_seconds: float


class _Sample(NamedTuple):
    at: float
    delivered: int
    failed: int


class Recent:
    """All instants are monotonic, and the limits may be others each time."""

    def __init__(self, now: float, delivered: int = 0, failed: int = 0) -> None:
        """With the totals as they stand when it begins: those of before an upgrade are no news."""
        self._began = now
        # What the totals were when a delivery last succeeded, and whether all failed since.
        self._success = _Sample(now, delivered, failed)
        self._fails = False
        self._samples = deque([self._success])
        # No more of them matter than a crash loop of all children makes.
        self._restarts: deque[float] = deque(maxlen=10_000)

    def restarted(self, now: float) -> None:
        """A process died and comes again."""
        self._restarts.append(now)

    def past(self, now: float, limits: Health, delivered: int, failed: int) -> Past:
        """What happened since the window began, with the totals as they stand now; they are sampled by this."""
        window = limits.window
        if now - self._samples[-1].at >= max(_EVERY_SECONDS, window / _SAMPLES):
            self._samples.append(_Sample(now, delivered, failed))
        # One sample at or before the beginning of the window is what the totals are held against.
        while len(self._samples) > 1 and self._samples[1].at <= now - window:
            self._samples.popleft()
        while self._restarts and self._restarts[0] <= now - window:
            self._restarts.popleft()
        first = self._samples[0]
        if delivered != self._success.delivered:
            self._success, self._fails = _Sample(now, delivered, failed), False
        elif delivered == first.delivered and failed - first.failed >= limits.failures:
            self._fails = True
        return Past(
            seconds=min(window, now - self._began),
            restarts=len(self._restarts),
            recent_failures=failed - first.failed,
            failures=failed - self._success.failed if self._fails else 0,
            failing_seconds=now - self._success.at if self._fails else 0.0,
        )
