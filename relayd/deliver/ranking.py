"""Ranking: which exchanger first, by measured latency. Pure: the clock and the randomness are handed in.

An exchanger's latency is a smoothed time from connect() to the 220 greeting, raised by recent failures. Within
one preference the fastest comes first; those within max(5 ms, 20 %) of it are equal and shuffled, which is the
randomising that RFC 5321 section 5.1 asks for. What was never measured is tried once, early; what was measured
long ago is measured again now and then.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies

Rule = Literal["preference", "latency"]

_EQUAL_SECONDS = 0.005
_EQUAL_SHARE = 0.2
_STALE_SECONDS = 600.0
_EXPLORE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates in the order they are to be tried, and one sentence: why the first one first."""

    candidates: tuple[Candidate, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One exchanger of a tier with its addresses; a figure of None was never measured."""

    name: str
    candidates: tuple[Candidate, ...]
    figure: float | None
    is_stale: bool
    is_asked: bool

    def __str__(self) -> str:
        return f"{self.name} (not measured)" if self.figure is None else f"{self.name} ({_ms(self.figure)})"


def rank(
    candidates: Sequence[Candidate], latencies: Latencies, rule: Rule, now: float, dice: random.Random
) -> Ranked:
    """Order candidates; `rule` "latency" ignores the preference (the opt-in departure from section 5.1)."""
    tiers = _tiers(candidates, rule)
    ordered: list[Candidate] = []
    reason = ""
    for place, (preference, tier) in enumerate(tiers):
        entries, why = _rank_tier(_entries(tier, latencies, now), dice)
        ordered += [candidate for entry in entries for candidate in entry.candidates]
        if place == 0:
            reason = f"preference {preference}: {why}" if len(tiers) > 1 else why
        elif place == 1:
            reason += f"; {entries[0]} has preference {preference}"
    return Ranked(tuple(ordered), reason)


def why_keep(
    candidate: Candidate, candidates: Sequence[Candidate], latencies: Latencies, rule: Rule, now: float
) -> str | None:
    """Why a connection to the candidate is still what a new one would go to, or None when it is not.

    It is not while a better preference may answer, nor beside an exchanger that is faster or not yet measured.
    Those that lately did not answer do not count: to ask them again for each message would delay all mail.
    """
    for _, tier in _tiers(candidates, rule):
        if candidate in tier:
            return _why_keep(candidate, _entries(tier, latencies, now), latencies.of(candidate).figure)
        if not all(latencies.of(each).is_down(now) for each in tier):
            return None
    return None


def _why_keep(candidate: Candidate, entries: Sequence[_Entry], own: float | None) -> str | None:
    others = [entry for entry in entries if entry.name != candidate.exchanger]
    if own is None or any(entry.figure is None and not entry.is_asked for entry in others):
        return None
    known = sorted((entry for entry in entries if entry.figure is not None), key=_figure)
    if own > _equal_up_to(_figure(known[0])):
        return None
    kept = f"{candidate.exchanger} ({_ms(own)})"
    beside = next((entry for entry in (*known, *others) if entry.name != candidate.exchanger), None)
    if beside is None:
        return f"{kept} is the only one"
    is_equal = beside.figure is not None and beside.figure <= _equal_up_to(own)
    return f"{kept} {'is as fast as' if is_equal else 'greets faster than'} {beside}"


def _tiers(candidates: Iterable[Candidate], rule: Rule) -> list[tuple[int, list[Candidate]]]:
    """The candidates by what sorts them before any latency, best first."""
    tiers: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        tiers.setdefault(candidate.preference if rule == "preference" else 0, []).append(candidate)
    return sorted(tiers.items())


def _entries(tier: Iterable[Candidate], latencies: Latencies, now: float) -> list[_Entry]:
    by_name: dict[str, list[Candidate]] = {}
    for candidate in tier:
        by_name.setdefault(candidate.exchanger, []).append(candidate)
    return [_entry(name, addresses, latencies, now) for name, addresses in by_name.items()]


def _entry(name: str, candidates: list[Candidate], latencies: Latencies, now: float) -> _Entry:
    """An exchanger and its addresses, the unmeasured ones first, then by speed; its own is that of the best."""
    measures = {candidate: latencies.of(candidate) for candidate in candidates}
    figures = {candidate: measure.figure for candidate, measure in measures.items()}
    known = [figure for figure in figures.values() if figure is not None]
    return _Entry(
        name,
        tuple(sorted(candidates, key=lambda each: -1.0 if (figure := figures[each]) is None else figure)),
        min(known) if known else None,
        is_stale=all(now - measure.at > _STALE_SECONDS for measure in measures.values()),
        is_asked=any(measure.is_asked(now) for measure in measures.values()),
    )


def _rank_tier(entries: list[_Entry], dice: random.Random) -> tuple[list[_Entry], str]:
    """The exchangers of one preference in order, and why the first one first."""
    dice.shuffle(entries)
    known = sorted((entry for entry in entries if entry.figure is not None), key=_figure)
    unknown = [entry for entry in entries if entry.figure is None]
    # One connection measures as well as ten: while it is under way, the others go where it is known to be good.
    fresh = [entry for entry in unknown if not entry.is_asked]
    asked = [entry for entry in unknown if entry.is_asked]
    if len(entries) == 1:
        return entries, f"{entries[0]} is the only one"
    if fresh or not known:
        ordered = fresh + known + asked
        return ordered, f"{ordered[0].name} was never measured; next is {ordered[1]}"
    stale = [entry for entry in known[1:] if entry.is_stale]
    if stale and dice.random() < _EXPLORE_SHARE:
        first = dice.choice(stale)
        rest = [entry for entry in known if entry is not first]
        return [first, *rest, *asked], f"{first} was measured long ago and is measured again; best is {rest[0]}"
    bound = _equal_up_to(_figure(known[0]))
    equal = [entry for entry in known if _figure(entry) <= bound]
    others = known[len(equal) :] + asked
    dice.shuffle(equal)
    if len(equal) > 1:
        return equal + others, f"{equal[0]} is as fast as {equal[1]}: chosen by lot"
    return equal + others, f"{equal[0]} greets faster than {others[0]}"


def _equal_up_to(best: float) -> float:
    """The slowest figure that is no worse than the best one, in seconds."""
    return best + max(_EQUAL_SECONDS, _EQUAL_SHARE * best)


def _figure(entry: _Entry) -> float:
    assert entry.figure is not None
    return entry.figure


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
