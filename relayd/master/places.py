"""Places: which slots of the counters and which parts of the tally are free for a child. Pure.

A child keeps its place until it is dead, however long it retires. Refuses to know what stands there: who gives a
place back has read what it needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# The master's own slot.
MASTER = 0


@dataclass(frozen=True, slots=True)
class Place:
    """The slot of one child, and its part of the tally, where it is a worker."""

    slot: int
    part: int | None = None


def room_for(workers: int) -> int:
    """How many workers may be there at a time, those that retire included; others are few beside them."""
    return 4 * workers + 32


class Places:
    """Those of one board of `slots` and one tally of `parts`; `taken` are not free."""

    def __init__(self, slots: int, parts: int, taken: Iterable[Place] = ()) -> None:
        taken = list(taken)
        self._slots = set(range(MASTER + 1, slots)) - {each.slot for each in taken}
        self._parts = set(range(parts)) - {each.part for each in taken if each.part is not None}

    def has(self, workers: int, others: int) -> bool:
        """Whether there is room for so many more."""
        return len(self._parts) >= workers and len(self._slots) >= workers + others

    def take(self, *, worker: bool) -> Place:
        """The lowest that is free, so that no more of the memory is looked at than need be; raises IndexError."""
        if not self.has(int(worker), int(not worker)):
            raise IndexError("no place is free")
        slot = min(self._slots)
        part = min(self._parts) if worker else None
        self._slots.discard(slot)
        if part is not None:
            self._parts.discard(part)
        return Place(slot, part)

    def give_back(self, place: Place) -> None:
        """Its child is dead."""
        self._slots.add(place.slot)
        if place.part is not None:
            self._parts.add(place.part)
