"""The figures of rounds: medians, percentiles, and ratios pair by pair. Pure."""

import math
import statistics
from collections.abc import Sequence

# What one round gave, by name: accepted and delivered in messages a second, mb_s end to end; cpu_us, fsyncs,
# syscalls and flushes for each message; p50_ms and p99_ms from the final dot to the 250; idle_mb and peak_mb of
# PSS in 10^6 octets.
Figures = dict[str, float]


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure that some round has."""
    names = dict.fromkeys(name for each in rounds for name in each)
    return {name: statistics.median(each[name] for each in rounds if name in each) for name in names}


def ratios(rounds: Sequence[Figures], others: Sequence[Figures], name: str) -> list[float]:
    """One figure over the other's in each round, which ran just before or after: what slows one slows both."""
    return [
        each[name] / other[name]
        for each, other in zip(rounds, others, strict=False)
        if name in each and other.get(name)
    ]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not pass; ValueError where there is none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
