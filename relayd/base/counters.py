"""Counters: one page of shared memory a process, written by that process alone and read by the master.

A number is eight octets at a fixed place, so that a reader never sees half of one. Refuses to know what a
counter means. Made before the fork; a child that dies leaves its numbers for the master to fold. A process that
is handed the board's descriptor reads the same memory; it fails with ValueError on a board of another layout.
"""

import mmap
import os
import zlib
from collections.abc import Iterable

SLOT = 4096

# Totals only ever grow; gauges say how it is now. The order is the place in the slot.
TOTALS = (
    "sessions",
    "accepted",
    "accepted_recipients",
    "refused",
    "delivered",
    "deferred",
    "failed",
    "in_doubt",
    "notifications",
    "undeliverable",
    "removed",
    "lookups",
    "connections",
    "bugs",
    "sessions_refused",
    "tls_sessions",
    "tls_failures",
    "authenticated",
    "auth_failures",
    "limited",
)
GAUGES = ("open_sessions", "in_flight", "connections_open")
_PLACES = {name: place for place, name in enumerate(TOTALS + GAUGES)}
# The last place of the first slot tells one layout from another, so that no version reads another's numbers
# under wrong names.
_LAYOUT_PLACE = SLOT // 8 - 1
_LAYOUT = zlib.crc32(" ".join(_PLACES).encode())


class Slot:
    """One process's numbers."""

    def __init__(self, numbers: "memoryview[int]") -> None:
        self._numbers = numbers

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        self._numbers[_PLACES[name]] += count

    def set(self, name: str, value: int) -> None:
        """Say how a gauge stands."""
        self._numbers[_PLACES[name]] = value

    def get(self, name: str) -> int:
        """Read one number."""
        return self._numbers[_PLACES[name]]

    def fold_into(self, other: "Slot") -> None:
        """Add the totals to another slot and begin again at nothing: the process of this one is gone."""
        for name in TOTALS:
            other.add(name, self.get(name))
        for name in _PLACES:
            self.set(name, 0)


class Board:
    """All slots; the first is the master's own, where those of dead children are folded."""

    def __init__(self, slots: int) -> None:
        fd = os.memfd_create("relayd-counters", os.MFD_CLOEXEC)
        os.ftruncate(fd, slots * SLOT)
        self._map(fd)
        self._numbers[_LAYOUT_PLACE] = _LAYOUT

    @classmethod
    def of(cls, fd: int) -> "Board":
        """The board behind a descriptor that another process made; the descriptor stays the caller's."""
        board = cls.__new__(cls)
        board._map(os.dup(fd))
        if board._numbers[_LAYOUT_PLACE] != _LAYOUT:
            raise ValueError("the counters are those of another version")
        return board

    def _map(self, fd: int) -> None:
        self._fd = fd
        self.slots = os.fstat(fd).st_size // SLOT
        self._numbers = memoryview(mmap.mmap(fd, self.slots * SLOT)).cast("Q")

    def fileno(self) -> int:
        """To hand the board to another process."""
        return self._fd

    def slot(self, index: int) -> Slot:
        """The slot of this index."""
        first = index * SLOT // 8
        return Slot(self._numbers[first : first + SLOT // 8])


def total(slots: Iterable[Slot], name: str) -> int:
    """The sum of one number over slots."""
    return sum(slot.get(name) for slot in slots)
