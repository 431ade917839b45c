"""Ranking: the fastest exchanger of the best preference first, with a seeded chance and a clock of our own."""

import random
from collections import Counter
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies
from relayd.deliver.ranking import Kept, rank, why_keep


def at(name: str, address: str, preference: int = 10) -> Candidate:
    """An exchanger's address."""
    return Candidate(preference, name, ip_address(address), 25)


FAST = at("fast.test", "192.0.2.1")
SLOW = at("slow.test", "192.0.2.2")
THIRD = at("third.test", "192.0.2.3")


def measured(*greetings: tuple[Candidate, float], now: float = 0.0) -> Latencies:
    """Latencies after these greetings."""
    latencies = Latencies()
    for candidate, seconds in greetings:
        greeted(latencies, candidate, seconds, now)
    return latencies


def greeted(latencies: Latencies, candidate: Candidate, seconds: float, now: float) -> None:
    """As often as it takes to be sure, the last time now."""
    for ago in (100.0, 0.0):
        latencies.greeted(candidate, seconds, now - ago)


def firsts(candidates: list[Candidate], latencies: Latencies, times: int, now: float = 0.0) -> Counter[str]:
    """How often each exchanger is the first one."""
    dice = random.Random(1)
    return Counter(
        rank(candidates, latencies, "preference", now, dice).candidates[0].exchanger for _ in range(times)
    )


def test_the_faster_of_two_equals_comes_first() -> None:
    """By the measured time to the greeting."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101))
    assert firsts([SLOW, FAST], latencies, 200) == {"fast.test": 200}


def test_the_reason_has_both_figures() -> None:
    """Of the winner and of the runner-up."""
    ranked = rank([SLOW, FAST], measured((FAST, 0.001), (SLOW, 0.101)), "preference", 0, random.Random(1))
    assert ranked.reason == "fast.test (1.0 ms) greets faster than slow.test (101.0 ms)"


def test_those_about_as_fast_share_the_mail() -> None:
    """Within max(5 ms, 20 %) of the best they are equal, and RFC 5321 section 5.1 wants equals randomised."""
    latencies = measured((FAST, 0.050), (SLOW, 0.059), (THIRD, 0.070))
    shares = firsts([FAST, SLOW, THIRD], latencies, 1000)
    assert set(shares) == {"fast.test", "slow.test"}
    assert 400 < shares["fast.test"] < 600


def test_the_reason_says_when_it_was_by_lot() -> None:
    """With the figure of one that was as fast."""
    ranked = rank([FAST, SLOW], measured((FAST, 0.050), (SLOW, 0.050)), "preference", 0, random.Random(1))
    assert ranked.reason.endswith("(50.0 ms): chosen by lot")


def test_preference_comes_before_speed() -> None:
    """And the reason has the figure of the one that is not tried first."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = measured((better, 0.3), (worse, 0.001))
    ranked = rank([worse, better], latencies, "preference", 0, random.Random(1))
    assert ranked.candidates == (better, worse)
    assert ranked.reason == "preference 10: a.test (300.0 ms) is the only one; b.test (1.0 ms) has preference 20"


def test_the_rule_latency_ignores_preference() -> None:
    """The opt-in departure."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = measured((better, 0.3), (worse, 0.001))
    assert rank([better, worse], latencies, "latency", 0, random.Random(1)).candidates == (worse, better)


def test_the_unmeasured_is_tried_before_the_fastest() -> None:
    """Once; the reason says so and names what would have been next."""
    ranked = rank([FAST, SLOW], measured((FAST, 0.001)), "preference", 0, random.Random(1))
    assert ranked.candidates == (SLOW, FAST)
    assert ranked.reason == "slow.test was never measured; next is fast.test (1.0 ms)"


def test_only_one_connection_measures_what_is_unknown() -> None:
    """While it is on its way, the others go where it is known to be good; when it takes too long, not any more."""
    latencies = measured((FAST, 0.001))
    latencies.asked(SLOW, 100.0)
    assert firsts([FAST, SLOW], latencies, 50, now=101.0) == {"fast.test": 50}
    assert firsts([FAST, SLOW], latencies, 50, now=200.0) == {"slow.test": 50}


def test_a_failure_puts_an_exchanger_behind_the_slow_one() -> None:
    """And the greetings that follow take it back, half of it each."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101))
    latencies.failed(FAST, 1.0)
    assert firsts([FAST, SLOW], latencies, 20, now=2.0) == {"slow.test": 20}
    for second in range(4):
        latencies.greeted(FAST, 0.001, 2.0 + second)
    assert firsts([FAST, SLOW], latencies, 20, now=6.0) == {"fast.test": 20}


def test_a_failure_is_forgotten_by_and_by() -> None:
    """Nobody has to ask the exchanger in vain for that: it comes first again when it has paid for it."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101), now=100.0)
    latencies.failed(FAST, 100.0)
    assert firsts([FAST, SLOW], latencies, 20, now=160.0) == {"slow.test": 20}
    assert firsts([FAST, SLOW], latencies, 20, now=260.0) == {"fast.test": 20}


def test_what_never_greeted_is_behind_all_that_did() -> None:
    """However slow these are."""
    latencies = measured((SLOW, 5.0))
    latencies.failed(FAST, 1.0)
    assert firsts([FAST, SLOW], latencies, 20) == {"slow.test": 20}


def test_after_a_night_of_failures_an_exchanger_comes_back_in_a_few_greetings() -> None:
    """However many there were."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101))
    for second in range(1000):
        latencies.failed(FAST, float(second))
    for second in range(6):
        latencies.greeted(FAST, 0.001, 1000.0 + second)
    latencies.greeted(SLOW, 0.101, 1009.0)
    assert firsts([FAST, SLOW], latencies, 20, now=1010.0) == {"fast.test": 20}


def test_the_stale_is_measured_again_where_the_share_allows_it() -> None:
    """What was slow ten minutes ago may not be now; the reason says so, and what is best."""
    latencies = measured((SLOW, 0.101))
    greeted(latencies, FAST, 0.001, 700.0)
    ranked = rank([FAST, SLOW], latencies, "preference", 701.0, random.Random(1))
    assert (ranked.candidates, ranked.is_exploring) == ((SLOW, FAST), True)
    assert ranked.reason.startswith("slow.test (101.0 ms) is measured again: it was once only, or a while ago")
    assert ranked.reason.endswith("; next is fast.test (1.0 ms)")
    assert firsts([FAST, SLOW], latencies, 20, now=599.0) == {"fast.test": 20}
    ranked = rank([FAST, SLOW], latencies, "preference", 701.0, random.Random(1), may_explore=False)
    assert (ranked.candidates, ranked.is_exploring) == ((FAST, SLOW), False)


def test_where_mail_is_plenty_the_slow_are_measured_again_the_less_the_slower_they_are() -> None:
    """So that it costs each message a fiftieth of what the best one takes."""
    latencies = measured((FAST, 0.010), (SLOW, 0.100))
    for unheard, first in ((499, FAST), (500, SLOW)):
        counted = {"slow.test": unheard, "fast.test": 3}
        ranked = rank([FAST, SLOW], latencies, "preference", 0, random.Random(1), unheard=counted)
        assert ranked.candidates[0] == first
        kept = why_keep(FAST, [FAST, SLOW], latencies, "preference", 0, unheard=counted)
        assert (kept is not None) == (first == FAST)


def test_an_odd_greeting_is_judged_by_the_next_message() -> None:
    """Whatever the share is: it is the second half of a measurement; others pass by meanwhile."""
    latencies = measured((FAST, 0.001), (SLOW, 0.020))
    latencies.greeted(FAST, 0.200, 1.0)
    assert not why_keep(SLOW, [FAST, SLOW], latencies, "preference", 2.0, may_explore=False)
    ranked = rank([FAST, SLOW], latencies, "preference", 2.0, random.Random(1), may_explore=False)
    assert (ranked.candidates, ranked.is_exploring) == ((FAST, SLOW), False)
    assert ranked.reason == (
        "fast.test (200.0 ms) was slow just now and is measured again; next is slow.test (20.0 ms)"
    )
    latencies.asked(FAST, 2.0)
    assert firsts([FAST, SLOW], latencies, 20, now=2.01) == {"slow.test": 20}
    latencies.greeted(FAST, 0.001, 2.1)
    assert firsts([FAST, SLOW], latencies, 20, now=100.0) == {"fast.test": 20}


def test_without_a_share_the_unmeasured_comes_after_the_known() -> None:
    """But before none: where nothing is known there is nothing to explore."""
    ranked = rank([SLOW, FAST], measured((FAST, 1.0)), "preference", 0, random.Random(1), may_explore=False)
    assert (ranked.candidates, ranked.is_exploring) == ((FAST, SLOW), False)
    ranked = rank([SLOW, FAST], Latencies(), "preference", 0, random.Random(1))
    assert not ranked.is_exploring


def test_nothing_is_explored_below_the_best_usable_preference() -> None:
    """However little is known of it."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    ranked = rank([better, worse], measured((better, 1.0)), "preference", 0, random.Random(1))
    assert (ranked.candidates, ranked.is_exploring) == ((better, worse), False)


def test_a_latency_is_smoothed() -> None:
    """One greeting that is a little slow does not make an exchanger slow."""
    latencies = measured((FAST, 0.010))
    latencies.greeted(FAST, 0.030, 0)
    assert 0.010 < (latencies.of(FAST).latency_s or 0) < 0.020


def test_addresses_of_one_exchanger_stand_together_fastest_first() -> None:
    """The exchanger counts as fast as its best address."""
    six, four = at("fast.test", "2001:db8::1"), at("fast.test", "192.0.2.1")
    latencies = measured((six, 0.2), (four, 0.001), (SLOW, 0.101))
    ranked = rank([SLOW, six, four], latencies, "preference", 0, random.Random(1))
    assert ranked.candidates == (four, six, SLOW)
    assert ranked.groups == [(four, six), (SLOW,)]


def test_an_unmeasured_address_is_explored_like_an_exchanger() -> None:
    """In its share, one connection at a time; what nobody knows keeps its order, IPv6 first."""
    six, four = at("fast.test", "2001:db8::1"), at("fast.test", "192.0.2.1")
    assert rank([six, four], Latencies(), "preference", 0, random.Random(1)).candidates == (six, four)
    latencies = measured((four, 0.001))
    ranked = rank([six, four], latencies, "preference", 0, random.Random(1))
    assert (ranked.candidates, ranked.is_exploring) == ((six, four), True)
    assert ranked.reason == "fast.test (1.0 ms) is the only one, and has an address to be measured"
    latencies.asked(six, 0)
    assert rank([six, four], latencies, "preference", 0, random.Random(1)).candidates == (four, six)
    ranked = rank([six, four], measured((four, 0.001)), "preference", 0, random.Random(1), may_explore=False)
    assert (ranked.candidates, ranked.is_exploring) == ((four, six), False)


def test_the_ip_versions_take_turns() -> None:
    """RFC 8305 section 4: with all of IPv6 broken, nobody waits for the timeout of a second address of it."""
    six, four = ([at("fast.test", f"{net}{host}") for host in range(1, 4)] for net in ("2001:db8::", "192.0.2."))
    dice = random.Random(1)
    ranked = rank([*six, *four[:2]], Latencies(), "preference", 0, dice)
    assert ranked.candidates == (six[0], four[0], six[1], four[1], six[2])
    latencies = measured((four[0], 0.001), (four[1], 0.101))
    ranked = rank([*six[:2], *four[:2]], latencies, "preference", 0, dice, may_explore=False)
    assert ranked.candidates == (four[0], six[0], four[1], six[1])
    latencies.failed(six[0], 1.0)
    ranked = rank([*six[:2], *four[:2]], latencies, "preference", 2.0, dice, may_explore=False)
    assert ranked.candidates == (four[0], six[1], four[1], six[0])


def test_one_address_at_a_time_is_measured_before_a_good_one() -> None:
    """The mail of whoever measures it does not wait for two that do not answer."""
    known, *others = (at("fast.test", f"192.0.2.{host}") for host in range(1, 4))
    ranked = rank([*others, known], measured((known, 0.001)), "preference", 0, random.Random(1))
    assert (ranked.candidates, ranked.is_exploring) == ((others[0], known, others[1]), True)


def test_an_address_that_failed_is_behind_the_other() -> None:
    """Though it was never measured: broken IPv6 costs its head start once."""
    six, four = at("fast.test", "2001:db8::1"), at("fast.test", "192.0.2.1")
    latencies = measured((four, 0.001))
    latencies.failed(six, 1.0)
    ranked = rank([six, four], latencies, "preference", 2.0, random.Random(1))
    assert (ranked.candidates, ranked.is_exploring) == ((four, six), False)


# Circuits.


def opened(candidate: Candidate, latencies: Latencies, now: float = 100.0) -> Latencies:
    """The same, the candidate's circuit being open since then."""
    for _ in range(3):
        latencies.failed(candidate, now)
    return latencies


def test_an_open_circuit_is_behind_all_others_of_its_preference() -> None:
    """And stays in the order: when all others fail, it is tried."""
    latencies = opened(FAST, measured((FAST, 0.001), (SLOW, 9.0), (THIRD, 9.9), now=100.0))
    ranked = rank([FAST, SLOW, THIRD], latencies, "preference", 101.0, random.Random(1))
    assert ranked.candidates == (SLOW, THIRD, FAST)


def test_when_all_of_a_preference_are_open_the_next_is_used_at_once() -> None:
    """The reason says which were passed over."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = opened(better, measured((worse, 0.1), now=100.0))
    ranked = rank([better, worse], latencies, "preference", 101.0, random.Random(1))
    assert ranked.candidates == (worse, better)
    assert ranked.reason == (
        "preference 20: b.test (100.0 ms) is the only one; a.test (3 failures) before it does not answer"
    )


def test_when_all_circuits_are_open_the_preferences_are_as_ever() -> None:
    """Somebody must be tried."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = opened(worse, opened(better, Latencies()))
    ranked = rank([better, worse], latencies, "preference", 101.0, random.Random(1))
    assert ranked.candidates == (better, worse)


def test_one_message_probes_an_exchanger_that_has_rested() -> None:
    """Without a share for it; the others pass by while it is under way."""
    latencies = opened(FAST, measured((FAST, 0.001), (SLOW, 0.101), now=100.0))
    ranked = rank([FAST, SLOW], latencies, "preference", 161.0, random.Random(1), may_explore=False)
    assert (ranked.candidates, ranked.is_exploring) == ((FAST, SLOW), False)
    assert ranked.reason == "fast.test (3 failures) failed and is tried again; next is slow.test (101.0 ms)"
    latencies.asked(FAST, 161.0)
    assert firsts([FAST, SLOW], latencies, 20, now=162.0) == {"slow.test": 20}


def test_one_message_probes_an_address_that_has_rested() -> None:
    """The exchanger's other address is behind it, and has lost no more than a head start."""
    six, four = at("fast.test", "2001:db8::1"), at("fast.test", "192.0.2.1")
    latencies = opened(six, measured((four, 0.001), now=100.0))
    candidates = [six, four]
    assert rank(candidates, latencies, "preference", 101.0, random.Random(1)).candidates == (four, six)
    assert rank(candidates, latencies, "preference", 161.0, random.Random(1)).candidates == (six, four)
    latencies.asked(six, 161.0)
    assert rank(candidates, latencies, "preference", 162.0, random.Random(1)).candidates == (four, six)


def test_a_better_preference_that_has_rested_is_probed() -> None:
    """It comes first again."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = opened(better, measured((worse, 0.1), now=100.0))
    ranked = rank([better, worse], latencies, "preference", 161.0, random.Random(1))
    assert ranked.candidates == (better, worse)


# The whole.


@settings(max_examples=200)
@given(
    known=st.lists(
        st.tuples(
            st.sampled_from(["greeted", "failed", "asked", "connected"]), st.integers(0, 11), st.integers(0, 9)
        ),
        max_size=40,
    ),
    preferences=st.lists(st.integers(0, 2), min_size=12, max_size=12),
    names=st.lists(st.integers(0, 5), min_size=12, max_size=12),
    later=st.sampled_from([0.0, 20.0, 100.0, 700.0, 90_000.0]),
    may_explore=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_candidate_stays_in_the_order_once(
    known: list[tuple[str, int, int]],
    preferences: list[int],
    names: list[int],
    later: float,
    may_explore: bool,
    seed: int,
) -> None:
    """Ranking forgets nobody, whatever was met: all must be tried before the mail waits."""
    candidates = [
        # An exchanger has one preference.
        at(f"mx{name}.test", f"192.0.2.{number}", preference=preferences[name])
        for number, name in enumerate(names)
    ]
    latencies = Latencies()
    for number, (what, place, seconds) in enumerate(known):
        candidate, now = candidates[place], float(number)
        if what == "greeted":
            latencies.greeted(candidate, seconds / 100, now)
        elif what == "connected":
            latencies.connected(candidate, seconds / 100, now)
        elif what == "failed":
            latencies.failed(candidate, now)
        else:
            latencies.asked(candidate, now)
    now = len(known) + later
    ranked = rank(candidates, latencies, "preference", now, random.Random(seed), may_explore=may_explore)
    assert sorted(ranked.candidates, key=str) == sorted(candidates, key=str)
    assert ranked.reason
    assert not ranked.is_exploring or may_explore
    exchangers = [group[0].exchanger for group in ranked.groups]
    assert len(exchangers) == len(set(names)), "the addresses of an exchanger stand together"
    usable = [each.preference for each in candidates if not latencies.of(each).is_shut(now)]
    assert ranked.candidates[0].preference == min(usable, default=min(each.preference for each in candidates))
    for each in candidates:
        kept = why_keep(each, candidates, latencies, "preference", now, may_explore=may_explore)
        assert kept is None or kept.reason


# Whether a connection is kept.


def test_a_connection_to_the_slow_one_is_not_kept() -> None:
    """Beside a faster one; one to the fast one is."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101))
    assert why_keep(FAST, [FAST, SLOW], latencies, "preference", 0)
    assert not why_keep(SLOW, [FAST, SLOW], latencies, "preference", 0)


def test_a_connection_is_not_kept_while_another_exchanger_is_unmeasured() -> None:
    """Else the first one found would be the only one for as long as mail comes."""
    latencies = measured((SLOW, 0.101))
    assert not why_keep(SLOW, [FAST, SLOW], latencies, "preference", 0)
    latencies.asked(FAST, 0)
    assert why_keep(SLOW, [FAST, SLOW], latencies, "preference", 0)


def test_a_connection_to_a_worse_preference_is_kept_while_the_better_is_down() -> None:
    """While it rests; then the better one is asked again, by one connection."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = measured((worse, 0.001))
    assert not why_keep(worse, [better, worse], latencies, "preference", 0)
    latencies.failed(better, 100.0)
    assert why_keep(worse, [better, worse], latencies, "preference", 101.0)
    assert not why_keep(worse, [better, worse], latencies, "preference", 116.0)
    latencies.asked(better, 116.0)
    assert why_keep(worse, [better, worse], latencies, "preference", 117.0)


def test_the_only_exchanger_is_kept() -> None:
    """Even when it has failed lately: a new connection would go there too."""
    latencies = measured((FAST, 0.001))
    latencies.failed(FAST, 1.0)
    assert why_keep(FAST, [FAST], latencies, "preference", 2.0)


def test_a_kept_connection_says_why_it_is_kept_with_the_figure_of_the_next() -> None:
    """The only one, faster than another, or as fast; the figures are those of now."""
    latencies = Latencies()
    greeted(latencies, FAST, 0.002, 0)
    assert why_keep(FAST, [FAST], latencies, "preference", 0) == Kept(
        "fast.test (2.0 ms) is the only one", has_choice=False
    )
    greeted(latencies, SLOW, 0.1, 0)
    why = why_keep(FAST, [FAST, SLOW], latencies, "preference", 0)
    assert why == Kept("fast.test (2.0 ms) greets faster than slow.test (100.0 ms)", has_choice=True)
    equal = Latencies()
    greeted(equal, FAST, 0.002, 0)
    greeted(equal, SLOW, 0.004, 0)
    why = why_keep(SLOW, [FAST, SLOW], equal, "preference", 0)
    assert why == Kept("slow.test (4.0 ms) is as fast as fast.test (2.0 ms)", has_choice=True)


def test_a_kept_connection_says_what_the_next_preference_has() -> None:
    """As the choice of a new one does."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = measured((better, 0.3), (worse, 0.001))
    assert why_keep(better, [better, worse], latencies, "preference", 0) == Kept(
        "preference 10: a.test (300.0 ms) is the only one; b.test (1.0 ms) has preference 20", has_choice=False
    )


def test_a_connection_is_kept_beside_the_unmeasured_where_there_is_no_share() -> None:
    """But not beside one whose circuit may be probed."""
    latencies = measured((FAST, 0.001), now=100.0)
    assert why_keep(FAST, [FAST, SLOW], latencies, "preference", 100.0, may_explore=False)
    opened(SLOW, latencies)
    assert why_keep(FAST, [FAST, SLOW], latencies, "preference", 101.0)
    assert not why_keep(FAST, [FAST, SLOW], latencies, "preference", 161.0, may_explore=False)
