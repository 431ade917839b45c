"""Ranking: which exchanger first, by measured latency. Pure: the clock and the randomness are handed in.

The fastest exchanger of the best preference comes first, by its smoothed time from connect() to the 220 greeting
with recent failures weighed in; those within max(5 ms, 20 %) of it are equal and shuffled, which is the
randomising that RFC 5321 section 5.1 asks for. Where the destination's share for it is not used up, one that was
never measured, or long ago, or once only, comes before it. What has an open circuit comes after all that have
none, a better preference too; when its rest is over one message may probe it.
"""

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from relayd.base.sections import Rule
from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies
from relayd.deliver.standing import Standing, equal_up_to, ms, standings

# An exchanger that is so many times as slow as the best one is measured again after so many times these messages.
_MESSAGES_UNHEARD = 50
_HEARD: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates in the order they are to be tried, and one sentence: why the first one first.

    `is_exploring` is whether it is only first to be measured.
    """

    candidates: tuple[Candidate, ...]
    reason: str
    is_exploring: bool = False

    @property
    def groups(self) -> list[tuple[Candidate, ...]]:
        """The same, the addresses of each exchanger together."""
        return [tuple(group) for _, group in itertools.groupby(self.candidates, lambda each: each.exchanger)]


class Kept(msgspec.Struct, frozen=True):
    """Why a connection is still the one to use, and whether anything else is there to be chosen."""

    reason: str
    has_choice: bool


def rank(
    candidates: Sequence[Candidate],
    latencies: Latencies,
    rule: Rule,
    now: float,
    dice: random.Random,
    *,
    may_explore: bool = True,
    unheard: Mapping[str, int] = _HEARD,
) -> Ranked:
    """Order candidates; `rule` "latency" ignores the preference (the opt-in departure from section 5.1).

    `unheard` is how many messages ago an exchanger's greeting was heard, as far as somebody has counted.
    """
    tiers = [(preference, standings(tier, latencies, now)) for preference, tier in _tiers(candidates, rule)]
    # Where nobody is left, the order is what it would be if nobody had failed.
    usable = [tier for tier in tiers if not _is_shut(tier[1])] or tiers
    ordered: list[Standing] = []
    reason, is_exploring = "", False
    for place, (preference, tier) in enumerate(usable):
        may_explore = may_explore and place == 0
        entries, why, explores = _rank_tier(tier, dice, unheard if may_explore else None)
        ordered += entries
        if place == 0:
            reason = f"preference {preference}: {why}" if len(tiers) > 1 else why
            is_exploring = explores
            reason += _skipped(preference, tiers)
        elif place == 1:
            reason += f"; {entries[0]} has preference {preference}"
    ordered += [each for tier in tiers if tier not in usable for each in _rank_tier(tier[1], dice)[0]]
    return Ranked(
        tuple(candidate for each in ordered for candidate in each.addresses(dice, is_probed=each is ordered[0])),
        reason,
        is_exploring,
    )


def why_keep(
    candidate: Candidate,
    candidates: Sequence[Candidate],
    latencies: Latencies,
    rule: Rule,
    now: float,
    *,
    may_explore: bool = True,
    unheard: Mapping[str, int] = _HEARD,
) -> Kept | None:
    """Why a connection to the candidate is still what a new one would go to, or None when it is not.

    It is not while a better preference may answer, nor beside an exchanger that is faster or is to be measured.
    Those that lately did not answer do not count: to ask them again for each message would delay all mail.
    """
    tiers = _tiers(candidates, rule)
    for place, (preference, tier) in enumerate(tiers):
        if candidate in tier:
            own = latencies.of(candidate).figure(now)
            kept = _why_keep(candidate, standings(tier, latencies, now), own, unheard if may_explore else None)
            if kept is None or len(tiers) == 1:
                return kept
            reason = f"preference {preference}: {kept.reason}"
            for following, others in tiers[place + 1 : place + 2]:
                best = min(standings(others, latencies, now), key=lambda each: each.figure)
                reason += f"; {best} has preference {following}"
            return Kept(reason, kept.has_choice)
        known = [latencies.of(each) for each in tier]
        if not all(each.circuit.is_resting(now) or each.is_shut(now) for each in known):
            return None
    return None


def _why_keep(
    candidate: Candidate, entries: Sequence[Standing], own: float | None, unheard: Mapping[str, int] | None
) -> Kept | None:
    """`unheard` is None where nothing may be explored."""
    others = [entry for entry in entries if entry.name != candidate.exchanger]
    if own is None or any(entry.is_probe or entry.is_doubted for entry in others):
        return None
    known = sorted((entry for entry in entries if entry.is_known), key=lambda each: each.figure)
    if known and own > equal_up_to(known[0].figure):
        return None
    if others and unheard is not None and _measurable(known, others, unheard):
        return None
    kept = f"{candidate.exchanger} ({ms(own)})"
    beside = next((entry for entry in (*known, *others) if entry.name != candidate.exchanger), None)
    if beside is None:
        return Kept(f"{kept} is the only one", has_choice=False)
    is_equal = beside.is_known and beside.figure <= equal_up_to(own)
    return Kept(f"{kept} {'is as fast as' if is_equal else 'greets faster than'} {beside}", beside.is_known)


def _tiers(candidates: Iterable[Candidate], rule: Rule) -> list[tuple[int, list[Candidate]]]:
    """The candidates by what sorts them before any latency, best first."""
    tiers: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        tiers.setdefault(candidate.preference if rule == "preference" else 0, []).append(candidate)
    return sorted(tiers.items())


def _is_shut(tier: Iterable[Standing]) -> bool:
    return all(entry.is_shut for entry in tier)


def _skipped(first: int, tiers: Iterable[tuple[int, Sequence[Standing]]]) -> str:
    """What the sentence says of better preferences that nobody answers at."""
    skipped = [entry for preference, tier in tiers if preference < first for entry in tier]
    if not skipped:
        return ""
    return f"; {', '.join(map(str, skipped))} before it {'does' if len(skipped) == 1 else 'do'} not answer"


def _rank_tier(
    tier: Sequence[Standing], dice: random.Random, unheard: Mapping[str, int] | None = None
) -> tuple[list[Standing], str, bool]:
    """The exchangers of one preference in order, why the first one first, and whether it is only explored.

    `unheard` is None where nothing may be explored.
    """
    entries = list(tier)
    dice.shuffle(entries)
    if len(entries) == 1:
        (only,) = entries
        if unheard is not None and only.has_measurable:
            return [only.exploring()], f"{only} is the only one, and has an address to be measured", True
        return entries, f"{only} is the only one", False
    known = sorted((entry for entry in entries if entry.is_known), key=lambda each: each.figure)
    shut = sorted((entry for entry in entries if entry.is_shut), key=lambda each: each.rests_until)
    # One connection measures as well as ten: while it is under way, the others go where it is known to be good.
    fresh = [entry for entry in entries if entry.is_measurable and not entry.is_known]
    doubtful = [entry for entry in entries if entry not in known and entry not in shut and entry not in fresh]
    doubtful.sort(key=lambda each: each.failures)
    everyone = [*known, *fresh, *doubtful, *shut]
    probe = next((entry for entry in entries if entry.is_probe), None)
    if probe is not None:
        rest = _without(probe, everyone)
        return [probe, *rest], f"{probe} failed and is tried again; next is {rest[0]}", False
    if not known:
        first, following = everyone[:2]
        why = f"{first.name} was never measured" if first in fresh else f"nobody answered yet; first is {first}"
        return everyone, f"{why}; next is {following}", False
    bound = equal_up_to(known[0].figure)
    equal = [entry for entry in known if entry.figure <= bound]
    dice.shuffle(equal)
    everyone[: len(equal)] = equal
    doubted = next((entry for entry in known[len(equal) :] if entry.is_doubted), None)
    if doubted is not None:
        # It was the best until now, or may be; this is no more than the second half of its measurement.
        rest = _without(doubted, everyone)
        return [doubted, *rest], f"{doubted} was slow just now and is measured again; next is {rest[0]}", False
    chosen = None if unheard is None else _explored(known, everyone, unheard, dice)
    if chosen is not None:
        first, why = chosen
        rest = _without(first, everyone)
        return [first, *rest], f"{why}; next is {rest[0]}", True
    if len(equal) > 1:
        return everyone, f"{equal[0]} is as fast as {equal[1]}: chosen by lot", False
    return everyone, f"{everyone[0]} greets faster than {everyone[1]}", False


def _explored(
    known: Sequence[Standing], entries: Sequence[Standing], unheard: Mapping[str, int], dice: random.Random
) -> tuple[Standing, str] | None:
    """What is to be measured now, and why: first whom nobody knows."""
    measurable = _measurable(known, entries, unheard)
    if measurable:
        first = dice.choice([entry for entry in measurable if not entry.is_known] or measurable)
        if first.is_known:
            return first, f"{first} is measured again: it was once only, or a while ago"
        return first, f"{first.name} was never measured"
    partly = [entry for entry in entries if entry.has_measurable]
    if partly:
        first = dice.choice(partly)
        return first.exploring(), f"{first} has an address to be measured"
    return None


def _measurable(
    known: Sequence[Standing], entries: Iterable[Standing], unheard: Mapping[str, int]
) -> list[Standing]:
    """Those that may turn out to be better; `known` are sorted. Equals are measured by lot anyway."""
    best = known[0].figure if known else 0.0
    bound = equal_up_to(best) if known else 0.0
    return [
        entry
        for entry in entries
        if (entry.is_measurable and not (entry.is_known and entry.figure <= bound))
        # However slow it is, this costs a message no more than a small part of what the best one takes.
        or (
            bound < entry.figure < math.inf
            and not entry.is_asked
            and unheard.get(entry.name, 0) * best >= _MESSAGES_UNHEARD * entry.figure
        )
    ]


def _without(one: Standing, entries: Iterable[Standing]) -> list[Standing]:
    return [entry for entry in entries if entry.name != one.name]
