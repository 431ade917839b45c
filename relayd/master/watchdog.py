"""The watchdog: which child makes no progress, judged by its heartbeat and what holds it up. Pure.

Time is the master's own progress: what it did not see pass (a machine that slept, a group of processes that was
frozen) made nobody late. Refuses to end anything, and to ask the system: `why_it_waits` is passed in, and asked of
those alone that are late.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from relayd.base.health import HUNG_SECONDS

# A child that has not begun its work yet may read a large spool from a slow disk.
BOOT_PATIENCE_SECONDS = 300.0
# The longest step that the master can believe it has lived through: it looks much more often.
_LONGEST_STEP = 10.0

Wait = Literal["disk", "stopped", "other"]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a child's slot says, in milliseconds of the monotonic clock: 0 is never, or not in a call.

    Of calls to the disk, `disk_since` is told by the thread that makes them, `large_since` by the loop: while that
    hangs, nobody says that such a call is over.
    """

    pid: int
    heartbeat: int
    disk_since: int
    large_since: int = 0

    @property
    def in_call_since(self) -> int:
        """Since when the oldest call to the disk has been going on."""
        return min(filter(None, (self.disk_since, self.large_since)), default=0)


@dataclass(frozen=True, slots=True)
class Finding:
    """A child that has made no progress for so many seconds.

    It is to be replaced, or only to be told, and not at each look.
    """

    pid: int
    seconds: float
    wait: Wait
    replace: bool


@dataclass(slots=True)
class _Seen:
    """What was seen of a child: its numbers, and since when they are the same on the master's own clock."""

    heartbeat: int
    beat_at: float
    in_call_since: int
    call_at: float


class Watchdog:
    """Remembers between two looks."""

    def __init__(self, patience: float = HUNG_SECONDS, boot_patience: float = BOOT_PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._boot_patience = boot_patience
        self._seen: dict[int, _Seen] = {}
        self._clock = 0.0
        self._looked: float | None = None

    def look(self, now: float, pulses: Iterable[Pulse], why_it_waits: Callable[[Pulse], Wait]) -> list[Finding]:
        """Who is late; `now` is monotonic. A child is found at each look until it goes on or is gone."""
        if self._looked is not None:
            self._clock += min(max(0.0, now - self._looked), _LONGEST_STEP)
        self._looked = now
        before, self._seen = self._seen, {}
        found = []
        for pulse in pulses:
            seen = self._seen[pulse.pid] = self._compared(before.get(pulse.pid), pulse)
            finding = self._judge(seen, pulse, why_it_waits)
            if finding is not None:
                found.append(finding)
        return found

    def _compared(self, seen: _Seen | None, pulse: Pulse) -> _Seen:
        if seen is None:
            return _Seen(pulse.heartbeat, self._clock, pulse.in_call_since, self._clock)
        if seen.heartbeat != pulse.heartbeat:
            seen.heartbeat, seen.beat_at = pulse.heartbeat, self._clock
        if seen.in_call_since != pulse.in_call_since:
            seen.in_call_since, seen.call_at = pulse.in_call_since, self._clock
        return seen

    def _judge(self, seen: _Seen, pulse: Pulse, why_it_waits: Callable[[Pulse], Wait]) -> Finding | None:
        silent = self._clock - seen.beat_at
        if silent >= (self._patience if pulse.heartbeat else self._boot_patience):
            wait = why_it_waits(pulse)
            return Finding(pulse.pid, silent, wait, replace=wait != "disk")
        waited = self._clock - seen.call_at
        if pulse.in_call_since and waited >= self._patience:
            return Finding(pulse.pid, waited, "disk", replace=False)
        return None
