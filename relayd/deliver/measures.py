"""Measures: what is known of each exchanger's address, from the connections made to it.

Instants are seconds on a monotonic clock that is handed in, durations seconds. Refuses to choose. Bounded in
number: what was not heard of for longest is forgotten.
"""

from dataclasses import dataclass

from relayd.deliver.exchangers import IP, Candidate

_WEIGHT = 0.3
# A failure counts as this much latency and doubles it: one slip of a fast exchanger is forgiven soon, since
# each greeting takes one failure back.
_FAILURE_SECONDS = 0.5
_MOST_FAILURES = 6
# An address that never greeted is behind all that did.
_NEVER_GREETED = 100.0
_DOWN_SECONDS = 60.0
# A connection that is under way for longer than this measures nothing that others should wait for.
_ASKED_SECONDS = 30.0
_MOST_MEASURES = 10_000


@dataclass(slots=True)
class Measure:
    """One address: seconds to the greeting, samples, failures not yet made good; `at` is when it was heard of."""

    latency_s: float | None = None
    samples: int = 0
    failures: int = 0
    at: float = 0.0
    asked_at: float | None = None

    @property
    def figure(self) -> float | None:
        """Seconds that the address counts for; None while nothing is known."""
        if not self.failures:
            return self.latency_s
        latency = _NEVER_GREETED if self.latency_s is None else self.latency_s
        return (latency + _FAILURE_SECONDS) * 2.0**self.failures

    def is_down(self, now: float) -> bool:
        """Whether it did not answer when it was tried a short while ago."""
        return self.failures > 0 and now - self.at <= _DOWN_SECONDS

    def is_asked(self, now: float) -> bool:
        """Whether a connection is on its way to measure it."""
        return self.asked_at is not None and now - self.asked_at <= _ASKED_SECONDS


class Latencies:
    """All measures."""

    def __init__(self) -> None:
        self._measures: dict[tuple[str, IP, int], Measure] = {}

    def of(self, candidate: Candidate) -> Measure:
        """What is known of a candidate; for reading."""
        return self._measures.get(_key(candidate)) or Measure()

    def asked(self, candidate: Candidate, now: float) -> None:
        """A connection to it begins."""
        self._known(candidate).asked_at = now

    def greeted(self, candidate: Candidate, seconds: float, now: float) -> None:
        """It greeted after so many seconds."""
        measure = self._known(candidate)
        if measure.latency_s is None:
            measure.latency_s = seconds
        else:
            measure.latency_s += _WEIGHT * (seconds - measure.latency_s)
        measure.samples += 1
        measure.failures = max(0, measure.failures - 1)
        measure.at = now
        measure.asked_at = None

    def failed(self, candidate: Candidate, now: float) -> None:
        """It did not come to a greeting, or refused us with it."""
        measure = self._known(candidate)
        measure.failures = min(measure.failures + 1, _MOST_FAILURES)
        measure.at = now
        measure.asked_at = None

    def _known(self, candidate: Candidate) -> Measure:
        key = _key(candidate)
        measure = self._measures.pop(key, None) or Measure()
        # Taken out and put in again, so that the first one is the one that was not heard of for longest.
        self._measures[key] = measure
        if len(self._measures) > _MOST_MEASURES:
            del self._measures[next(iter(self._measures))]
        return measure


def _key(candidate: Candidate) -> tuple[str, IP, int]:
    return candidate.exchanger, candidate.address, candidate.port
