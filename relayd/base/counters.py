"""Counters: one page of shared memory a process, written by that process alone and read by the master.

A number is eight octets at a fixed place, so that a reader never sees half of one. Refuses to know what a
counter means. Made before the fork; a child that dies leaves its numbers for the master to fold. A process that
is handed the board's descriptor reads the same memory; it fails with ValueError on a board of another layout.

Each place has one writing thread: two would lose some of what they count.
"""

import mmap
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

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
    "attempts_failed",
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
    "worker_restarts",
    "delivery_restarts",
    "metrics_restarts",
)
GAUGES = ("open_sessions", "in_flight", "connections_open")
# In the master's slot alone: what its last look at the others and the recent past gave; see `base.health`.
CONDITION = ("missing", "recent_restarts", "recent_failures", "failures", "failing_seconds")
# Instants of the monotonic clock in milliseconds: the last beat of the process's loop, and since when the spool's
# thread has been in one piece of work, and the oldest part of a large message (0: in none).
INSTANTS = ("heartbeat", "disk_since", "large_since")
# What clients said and what they heard; the last one stands for all others.
VERBS = (
    *("HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP"),
    *("QUIT", "other"),
)
CODES = (
    *("211", "214", "220", "221", "235", "250", "251", "252", "334", "354", "421", "432", "450", "451", "452"),
    *("454", "455", "500", "501", "502", "503", "504", "521", "523", "530", "534", "535", "538", "550", "551"),
    *("552", "553", "554", "555", "556", "other"),
)
HISTOGRAMS = ("commit_seconds", "fsync_seconds", "dns_seconds", "greeting_seconds")
# The upper bounds of a histogram's buckets, in seconds; one more bucket has what is above.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BUCKETS = len(BOUNDS) + 1

_COMMANDS = {verb: f"command {verb}" for verb in VERBS}
_REPLIES = {code: f"reply {code}" for code in CODES}
# Of each histogram the buckets, by their bounds, then the sum in microseconds.
_HISTOGRAM_PLACES = [f"{name} {place}" for name in HISTOGRAMS for place in (*BOUNDS, "above", "sum")]
# All that only ever grows.
_GROWING = (*TOTALS, *_COMMANDS.values(), *_REPLIES.values(), *_HISTOGRAM_PLACES)
_GROWING_NAMES = frozenset(_GROWING)
_PLACES = {name: place for place, name in enumerate((*_GROWING, *GAUGES, *INSTANTS, *CONDITION))}
_HISTOGRAMS = {name: _PLACES[f"{name} {BOUNDS[0]}"] for name in HISTOGRAMS}
# The last place of the first slot tells one layout from another, so that no version reads another's numbers
# under wrong names.
_LAYOUT_PLACE = SLOT // 8 - 1
_LAYOUT = zlib.crc32(" ".join(_PLACES).encode())
# The one before it is odd while numbers are on their way from another slot into this one.
_FOLDS_PLACE = _LAYOUT_PLACE - 1
# A fold takes microseconds, but who does it may have lost the processor.
_LOOKS = 1000


class Histogram(NamedTuple):
    """How often each bucket was met, and all values together: integers, so that no sum depends on an order."""

    buckets: tuple[int, ...]
    microseconds: int


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

    def observe(self, histogram: str, *seconds: float) -> None:
        """Count durations; many at once are cheaper than one by one."""
        first, numbers = _HISTOGRAMS[histogram], self._numbers
        for each in seconds:
            numbers[first + bisect_left(BOUNDS, each)] += 1
        numbers[first + _BUCKETS] += max(0, int(sum(seconds) * 1_000_000))

    def histogram(self, name: str) -> Histogram:
        """Read a histogram."""
        first = _HISTOGRAMS[name]
        buckets = tuple(self._numbers[first : first + _BUCKETS])
        return Histogram(buckets, self._numbers[first + _BUCKETS])

    def set_dialogue(self, commands: Mapping[str, int], replies: Mapping[int, int]) -> None:
        """Say how often each verb was heard and each code said since the process began."""
        self._set_all(commands, _COMMANDS)
        self._set_all({str(code): count for code, count in replies.items()}, _REPLIES)

    def _set_all(self, counts: Mapping[str, int], names: Mapping[str, str]) -> None:
        others = 0
        for key, count in counts.items():
            if key in names and key != "other":
                self.set(names[key], count)
            else:
                others += count
        self.set(names["other"], others)

    def commands(self) -> dict[str, int]:
        """How often each of VERBS was heard."""
        return {verb: self.get(name) for verb, name in _COMMANDS.items()}

    def replies(self) -> dict[str, int]:
        """How often each of CODES was said."""
        return {code: self.get(name) for code, name in _REPLIES.items()}

    def grown(self) -> dict[str, int]:
        """All that only ever grows, by name and without what is nothing: for a board of another layout."""
        return {name: count for name in _GROWING if (count := self.get(name))}

    def grow(self, counts: Mapping[str, int]) -> None:
        """Add what another layout had; names that this one does not know are left out."""
        for name, count in counts.items():
            if name in _GROWING_NAMES:
                self.add(name, count)

    def fold_into(self, other: "Slot") -> None:
        """Add what grew to another slot and begin again at nothing: the process of this one is gone."""
        other._numbers[_FOLDS_PLACE] += 1
        for name in _GROWING:
            if count := self.get(name):
                other.add(name, count)
        for place in _PLACES.values():
            self._numbers[place] = 0
        other._numbers[_FOLDS_PLACE] += 1


class Board:
    """All slots; the first is the master's own, where those of dead children are folded."""

    def __init__(self, slots: int) -> None:
        fd = os.memfd_create("relayd-counters", os.MFD_CLOEXEC)
        os.ftruncate(fd, slots * SLOT)
        self._map(fd)
        self._numbers[_LAYOUT_PLACE] = _LAYOUT

    @classmethod
    def of(cls, fd: int) -> "Board":
        """The board behind a descriptor, which is its own from now on; ValueError for one of another layout."""
        board = cls.__new__(cls)
        board._map(fd)
        if board._numbers[_LAYOUT_PLACE] != _LAYOUT:
            raise ValueError("the counters are those of another version")
        return board

    def _map(self, fd: int) -> None:
        self._fd = fd
        self.slots = os.fstat(fd).st_size // SLOT
        self._numbers = memoryview(mmap.mmap(fd, self.slots * SLOT)).cast("Q")

    def __del__(self) -> None:
        # What is mapped stays, by a descriptor of its own.
        os.close(self._fd)

    def fileno(self) -> int:
        """To hand the board to another process."""
        return self._fd

    def slot(self, index: int) -> Slot:
        """The slot of this index."""
        first = index * SLOT // 8
        return Slot(self._numbers[first : first + SLOT // 8])

    def copy(self) -> "list[Slot] | None":
        """All slots as they stood when nothing was being folded into the first; None where that does not end.

        So no sum over them is ever less than one before it, and none has numbers twice.
        """
        for _ in range(_LOOKS):
            before = self._numbers[_FOLDS_PLACE]
            copied = memoryview(bytes(self._numbers)).cast("Q")
            if before % 2 == 0 and self._numbers[_FOLDS_PLACE] == before:
                return [Slot(copied[first : first + SLOT // 8]) for first in range(0, len(copied), SLOT // 8)]
            os.sched_yield()
        return None


def total(slots: Iterable[Slot], name: str) -> int:
    """The sum of one number over slots."""
    return sum(slot.get(name) for slot in slots)
