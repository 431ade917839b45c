"""The bounds: what relayd's figures must reach and what they aim at, most as ratios within the same run. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.figures import Figures, ratios

# The rounds of each subject of each case.
Found = Mapping[str, Mapping[str, Sequence[Figures]]]


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure of relayd in one case, against that of another subject, another figure, or nothing."""

    text: str
    case: str
    figure: str
    against: str
    bound: float
    aim: float
    is_least: bool
    unit: str = ""
    over: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound and what was found: the median, the lowest and the highest."""

    bound: Bound
    value: float
    lowest: float
    highest: float

    @property
    def word(self) -> str:
        """How far it came."""
        for limit, word in ((self.bound.aim, "aim"), (self.bound.bound, "bound")):
            if (self.value >= limit) if self.bound.is_least else (self.value <= limit):
                return f"{word} reached"
        return "MISSED"


BOUNDS = (
    Bound("headline, end-to-end rate against Postfix", "headline", "delivered", "postfix", 3.0, 4.0, True),
    Bound("headline, accept rate against Postfix", "headline", "accepted", "postfix", 2.0, 3.0, True),
    Bound("headline, CPU a message against Postfix", "headline", "cpu_us", "postfix", 0.28, 0.18, False),
    Bound("headline, accept rate against the floor", "headline", "accepted", "floor", 0.4, 0.6, True),
    Bound(
        "one connection a message, end to end against Postfix",
        "one-connection",
        "delivered",
        "postfix",
        2.5,
        4.0,
        True,
    ),
    Bound("one session, p50 dot to 250 against Postfix", "one-session", "p50_ms", "postfix", 1.15, 0.7, False),
    Bound("25 MB, MB/s end to end against Postfix", "25-mb", "mb_s", "postfix", 1.0, 2.0, True),
    # Nobody said how much is growth: some buffers fill at any size.
    Bound(
        "25 MB, peak memory over that with 2.5 MB", "25-mb", "peak_mb", "", 1.2, 1.05, False, over="small_peak_mb"
    ),
    Bound("whole idle, PSS", "headline", "idle_mb", "", 70.0, 50.0, False, unit=" MB"),
    Bound("headline, fsync calls a message", "headline", "fsyncs", "", 1.3, 1.1, False),
)


def verdicts(found: Found, bounds: Sequence[Bound] = BOUNDS) -> list[Verdict]:
    """What can be said of the bounds with what was found; the others are left out."""
    said = []
    for bound in bounds:
        subjects = found.get(bound.case, {})
        rounds = subjects.get("relayd", ())
        if bound.against:
            values = ratios(rounds, subjects.get(bound.against, ()), bound.figure)
        elif bound.over:
            values = [each[bound.figure] / each[bound.over] for each in rounds if each.get(bound.over)]
        else:
            values = [each[bound.figure] for each in rounds if bound.figure in each]
        if values:
            said.append(Verdict(bound, statistics.median(values), min(values), max(values)))
    return said
