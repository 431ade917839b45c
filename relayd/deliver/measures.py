"""Measures: what is known of each exchanger's address, from the connections made to it.

Instants are seconds on a monotonic clock that is handed in, durations seconds. Refuses to choose. Bounded in
number: what was not heard of for longest is forgotten.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from relayd.deliver.circuit import CLOSED, Circuit
from relayd.deliver.exchangers import IP, Candidate

# How much a new sample counts at least; the older the last one, the more. A better one counts more than a worse:
# much makes a greeting slow for a moment, and nothing makes it faster than the exchanger is.
_WEIGHT, _WEIGHT_DOWN = 0.3, 0.7
# A greeting that takes more than so many times what was known, and so many seconds, is odd.
_ODD_TIMES, _ODD_MORE = 2.0, 0.01
# How much one of them weighs in their mean, and what is too little to remember.
_EXCESS_WEIGHT, _NO_EXCESS = 0.15, 0.0005
# A measure that is older is no longer believed to be how things are.
STALE_SECONDS = 600.0
# What a failure costs the mail that meets it, and how soon it is half forgotten.
_FAILURE_SECONDS = 3.0
_HALF_FORGOTTEN = 30.0
# A connection that is under way for longer than this measures nothing that others should wait for.
_ASKED_SECONDS = 30.0
_MOST_MEASURES = 10_000
# Two readings of the clock for one beginning differ by less.
_CLOCK_SECONDS = 0.001

Key = tuple[str, IP, int]


@dataclass(frozen=True, slots=True)
class Measure:
    """One address: smoothed seconds to connect and to the greeting, both from connect(), and how it failed.

    It `is_sure` when two greetings agree, and `is_doubted` when the last one was odd and another is to tell.
    `excess_s` is what odd greetings have cost, as a mean. `trouble` is how much of the latest was failures, from 0
    to 1, `heard_at` the instant of the last connection, `greeted_at` that of the last greeting. `asked_at` is when
    a connection was begun that is still under way.
    """

    connect_s: float | None = None
    latency_s: float | None = None
    samples: int = 0
    is_sure: bool = False
    is_doubted: bool = False
    excess_s: float = 0.0
    trouble: float = 0.0
    circuit: Circuit = CLOSED
    heard_at: float = 0.0
    greeted_at: float = 0.0
    asked_at: float | None = None

    def figure(self, now: float) -> float | None:
        """Seconds that mail may expect until the greeting, failures weighed in; None while it never greeted.

        A greeting that is waited for, and is odd already, is expected to take as long again.
        """
        if self.latency_s is None:
            return None
        latency = self.latency_s
        if self.asked_at is not None and self.is_asked(now) and self.is_odd(now - self.asked_at):
            latency = 2 * (now - self.asked_at)
        cost = self.excess_s + _FAILURE_SECONDS * self.trouble
        if not cost:
            return latency
        remembered: float = 0.5 ** (max(0.0, now - self.heard_at) / _HALF_FORGOTTEN)
        return latency + cost * remembered

    def is_odd(self, seconds: float) -> bool:
        """Whether a greeting that takes so long is far from what was known."""
        return self.latency_s is not None and seconds > _ODD_TIMES * self.latency_s + _ODD_MORE

    def is_unsure(self, now: float) -> bool:
        """Whether another greeting is to tell if it is what it seems, or the last one is too old to tell."""
        return self.latency_s is not None and (not self.is_sure or now - self.greeted_at > STALE_SECONDS)

    def is_asked(self, now: float) -> bool:
        """Whether a connection is on its way to measure it."""
        return self.asked_at is not None and now - self.asked_at <= _ASKED_SECONDS

    def is_shut(self, now: float) -> bool:
        """Whether what can go elsewhere leaves it alone: its open circuit rests, or one message tries again."""
        if not self.circuit.failures:
            return False
        return self.is_asked(now) or (self.circuit.is_open and self.circuit.is_resting(now))


_UNKNOWN = Measure()


class Latencies:
    """All measures; `version` changes whenever one of them does."""

    def __init__(self) -> None:
        self.version = 0
        self._measures: dict[Key, Measure] = {}

    def __len__(self) -> int:
        return len(self._measures)

    def of(self, candidate: Candidate) -> Measure:
        """What is known of a candidate."""
        return self._measures.get(_key(candidate), _UNKNOWN)

    def all(self) -> Iterator[tuple[Key, Measure]]:
        """Everything that is known, the least recently heard of first."""
        return iter(self._measures.items())

    def restore(self, known: Iterable[tuple[Key, Measure]]) -> None:
        """Take over what was known before; what has been measured since counts more."""
        fresh, self._measures = self._measures, {}
        for key, measure in known:
            self._put(key, measure)
        for key, measure in fresh.items():
            self._put(key, measure)

    def asked(self, candidate: Candidate, now: float) -> None:
        """A connection to it begins."""
        before = self.of(candidate)
        if not before.is_asked(now):
            self._put(_key(candidate), replace(before, asked_at=now))

    def connected(self, candidate: Candidate, seconds: float, now: float) -> None:
        """It took the connection after so many seconds."""
        before = self.of(candidate)
        smoothed = _smoothed(before.connect_s, seconds, now - before.heard_at)
        self._put(_key(candidate), replace(before, connect_s=smoothed))

    def greeted(self, candidate: Candidate, seconds: float, now: float) -> bool:
        """It greeted after so many seconds; True when its circuit was open until now."""
        before = self.of(candidate)
        self._put(
            _key(candidate),
            replace(
                _smoothed_in(before, seconds, now),
                samples=before.samples + 1,
                trouble=before.trouble / 2 if before.trouble > 0.01 else 0.0,
                circuit=CLOSED,
                heard_at=now,
                greeted_at=now,
                asked_at=_still_asked(before, now - seconds),
            ),
        )
        return before.circuit.is_open

    def failed(self, candidate: Candidate, now: float, began: float | None = None) -> bool:
        """It did not come to a greeting, or refused us with it; True when that opens its circuit.

        `began` is when the connection did: of those that were under way together, one failure counts.
        """
        before = self.of(candidate)
        is_same = began is not None and before.circuit.failures > 0 and began <= before.circuit.failed_at
        circuit = before.circuit if is_same else before.circuit.failed(now)
        trouble = before.trouble + _WEIGHT * (1 - before.trouble)
        asked_at = _still_asked(before, now if began is None else began)
        failed = replace(before, trouble=trouble, circuit=circuit, heard_at=now, asked_at=asked_at)
        self._put(_key(candidate), failed)
        return circuit.is_open and not before.circuit.is_open

    def dropped(self, candidate: Candidate) -> None:
        """The connection that was begun is not wanted any more, and says nothing of it."""
        self._put(_key(candidate), replace(self.of(candidate), asked_at=None))

    def _put(self, key: Key, measure: Measure) -> None:
        self.version += 1
        # Taken out and put in again, so that the first one is the one that was not heard of for longest.
        self._measures.pop(key, None)
        self._measures[key] = measure
        if len(self._measures) > _MOST_MEASURES:
            del self._measures[next(iter(self._measures))]


def _still_asked(before: Measure, began: float) -> float | None:
    """When the connection was begun that still measures it, after one that began at an instant has told."""
    if before.asked_at is None or began >= before.asked_at - _CLOCK_SECONDS:
        return None
    return before.asked_at


def _smoothed_in(before: Measure, seconds: float, now: float) -> Measure:
    """The measure after one more greeting.

    One that is odd counts at once, since mail should go elsewhere, but it may have met a machine that was busy for
    a moment, as the first of all may: of it and the next one the better counts, and the difference is remembered.
    """
    latency, excess = before.latency_s, before.excess_s * (1 - _EXCESS_WEIGHT)
    if latency is None:
        return replace(before, latency_s=seconds)
    if before.is_sure and before.is_odd(seconds):
        return replace(before, latency_s=seconds, is_sure=False, is_doubted=True)
    if before.is_sure:
        smoothed = _smoothed(latency, seconds, now - before.greeted_at)
        return replace(before, latency_s=smoothed, excess_s=excess if excess > _NO_EXCESS else 0.0)
    if before.is_doubted:
        excess += _EXCESS_WEIGHT * max(0.0, latency - seconds)
    # What was under way at the same time met the same trouble.
    is_sure = now - seconds >= before.greeted_at
    return replace(
        before,
        latency_s=min(latency, seconds),
        is_sure=is_sure,
        is_doubted=before.is_doubted and not is_sure,
        excess_s=excess,
    )


def _smoothed(before: float | None, seconds: float, age: float) -> float:
    """The new value; what is `age` seconds old counts the less, after STALE_SECONDS not at all."""
    if before is None:
        return seconds
    least = _WEIGHT if seconds > before else _WEIGHT_DOWN
    weight = least + (1 - least) * min(1.0, max(0.0, age) / STALE_SECONDS)
    return before + weight * (seconds - before)


def _key(candidate: Candidate) -> Key:
    return candidate.exchanger, candidate.address, candidate.port
