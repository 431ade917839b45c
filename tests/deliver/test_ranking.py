"""Ranking: the fastest exchanger of the best preference first, with a seeded chance and a clock of our own."""

import random
from collections import Counter
from ipaddress import ip_address

from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies
from relayd.deliver.ranking import rank, why_keep


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
        latencies.greeted(candidate, seconds, now)
    return latencies


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
    """And the greetings that follow take it back."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101))
    latencies.failed(FAST, 1.0)
    assert firsts([FAST, SLOW], latencies, 20) == {"slow.test": 20}
    latencies.greeted(FAST, 0.001, 2.0)
    assert firsts([FAST, SLOW], latencies, 20) == {"fast.test": 20}


def test_what_never_greeted_is_behind_all_that_did() -> None:
    """However slow these are."""
    latencies = measured((SLOW, 5.0))
    latencies.failed(FAST, 1.0)
    assert firsts([FAST, SLOW], latencies, 20) == {"slow.test": 20}


def test_failures_are_counted_up_to_a_bound() -> None:
    """After a night of failures an exchanger comes back in a few greetings."""
    latencies = measured((FAST, 0.001), (SLOW, 0.101))
    for second in range(1000):
        latencies.failed(FAST, float(second))
    for second in range(6):
        latencies.greeted(FAST, 0.001, 1000.0 + second)
    assert firsts([FAST, SLOW], latencies, 20, now=1010.0) == {"fast.test": 20}


def test_the_stale_is_measured_again_in_two_of_a_hundred() -> None:
    """What was slow ten minutes ago may not be now."""
    latencies = measured((SLOW, 0.101))
    latencies.greeted(FAST, 0.001, 700.0)
    shares = firsts([FAST, SLOW], latencies, 5000, now=701.0)
    assert 50 <= shares["slow.test"] <= 150
    assert firsts([FAST, SLOW], latencies, 5000, now=599.0)["slow.test"] == 0


def test_a_latency_is_smoothed() -> None:
    """One slow greeting of a fast exchanger does not make it slow."""
    latencies = measured((FAST, 0.010), (FAST, 0.110))
    assert 0.010 < (latencies.of(FAST).latency_s or 0) < 0.060


def test_addresses_of_one_exchanger_stand_together_fastest_first() -> None:
    """The exchanger counts as fast as its best address; an unmeasured address is tried first."""
    six, four = at("fast.test", "2001:db8::1"), at("fast.test", "192.0.2.1")
    latencies = measured((six, 0.2), (four, 0.001), (SLOW, 0.101))
    ranked = rank([SLOW, six, four], latencies, "preference", 0, random.Random(1))
    assert ranked.candidates == (four, six, SLOW)
    ranked = rank([SLOW, four, six], measured((four, 0.001), (SLOW, 0.101)), "preference", 0, random.Random(1))
    assert ranked.candidates == (six, four, SLOW)


def test_every_candidate_stays_in_the_order_once() -> None:
    """Ranking forgets nobody: all must be tried before the mail waits."""
    candidates = [at(f"mx{n % 7}.test", f"192.0.2.{n}", preference=n % 3) for n in range(30)]
    latencies = measured(*((each, index / 100) for index, each in enumerate(candidates[::2])))
    for seed in range(20):
        ranked = rank(candidates, latencies, "preference", 5000.0, random.Random(seed))
        assert sorted(ranked.candidates, key=str) == sorted(candidates, key=str)
        assert [each.preference for each in ranked.candidates] == [0] * 10 + [1] * 10 + [2] * 10


def test_measures_are_bounded_in_number() -> None:
    """What was not heard of for longest goes."""
    latencies = Latencies()
    for number in range(10_001):
        latencies.greeted(at(f"mx{number}.test", "192.0.2.1"), 0.001, float(number))
    assert latencies.of(at("mx0.test", "192.0.2.1")).samples == 0
    assert latencies.of(at("mx1.test", "192.0.2.1")).samples == 1


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
    """For a minute; then the better one is asked again."""
    better, worse = at("a.test", "192.0.2.1", 10), at("b.test", "192.0.2.2", 20)
    latencies = measured((worse, 0.001))
    assert not why_keep(worse, [better, worse], latencies, "preference", 0)
    latencies.failed(better, 100.0)
    assert why_keep(worse, [better, worse], latencies, "preference", 101.0)
    assert not why_keep(worse, [better, worse], latencies, "preference", 161.0)


def test_the_only_exchanger_is_kept() -> None:
    """Even when it has failed lately: a new connection would go there too."""
    latencies = measured((FAST, 0.001))
    latencies.failed(FAST, 1.0)
    assert why_keep(FAST, [FAST], latencies, "preference", 2.0)


def test_a_kept_connection_says_why_it_is_kept_with_the_figure_of_the_next() -> None:
    """The only one, faster than another, or as fast; the figures are those of now."""
    latencies = Latencies()
    latencies.greeted(FAST, 0.002, 0)
    assert why_keep(FAST, [FAST], latencies, "preference", 0) == "fast.test (2.0 ms) is the only one"
    latencies.greeted(SLOW, 0.1, 0)
    why = why_keep(FAST, [FAST, SLOW], latencies, "preference", 0)
    assert why == "fast.test (2.0 ms) greets faster than slow.test (100.0 ms)"
    equal = Latencies()
    equal.greeted(FAST, 0.002, 0)
    equal.greeted(SLOW, 0.004, 0)
    why = why_keep(SLOW, [FAST, SLOW], equal, "preference", 0)
    assert why == "slow.test (4.0 ms) is as fast as fast.test (2.0 ms)"
