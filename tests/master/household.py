"""A household: children that are no processes, for what decides about them."""

from pathlib import Path

from relayd.base.bound import Bound
from relayd.base.channel import Channel
from relayd.base.config import load
from relayd.base.counters import SLOT, Slot
from relayd.base.source import Source
from relayd.master.children import Child
from relayd.master.generation import Generation, Plan
from relayd.master.places import Place


def _idle(channel: Channel) -> int:
    return 0


def child(role: str, place: int | None = None, part: int | None = None) -> Child:
    """One that does not run."""
    slot = Slot(memoryview(bytearray(SLOT)).cast("Q"))
    where = None if place is None else Place(place, part)
    return Child(role, _idle, slot, where, is_single=part is None)


def household(workers: int = 2) -> Generation:
    """Workers and a delivery process."""
    source = Source.of(None, spool=Path("/nonexistent"))
    made = [child(f"worker {number}", number, number) for number in range(1, workers + 1)]
    bound: list[Bound] = []
    return Generation(Plan(source, load(None), ("a warning",)), bound, [*made, child("delivery", workers + 1)])


class Count:
    """Pids."""

    def __init__(self) -> None:
        self._last = 1000

    def __call__(self) -> int:
        self._last += 1
        return self._last


def runs(given: Child, pid: int, state: str = "ready") -> Child:
    """It has a process that came so far: forked, waiting, begun or ready."""
    given.pid, given.due = pid, None
    given.is_waiting = state != "forked"
    given.has_begun = state in ("begun", "ready")
    given.is_ready = state == "ready"
    return given


def dies(given: Child) -> Child:
    """It has none any more."""
    given.ended()
    return given


class Silent:
    """A reader that reads nothing; `plan` is what it would have found."""

    def __init__(self, plan: Plan) -> None:
        self.child = child("configuration")
        self.child.due = 0.0
        self._plan = plan

    def plan(self) -> Plan:
        """As the real one's."""
        return self._plan

    def close(self) -> None:
        """Nothing is open."""
