"""Measures and circuits: what connections teach about an address, with a clock of our own."""

from ipaddress import ip_address

import pytest

from relayd.deliver.circuit import CLOSED
from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies, Measure


def at(name: str = "mx.test") -> Candidate:
    """An exchanger's address."""
    return Candidate(10, name, ip_address("192.0.2.1"), 25)


def sure(seconds: float) -> Latencies:
    """What two greetings have told."""
    latencies = Latencies()
    for now in (-1.0, 0.0):
        latencies.greeted(at(), seconds, now)
    return latencies


def test_measures_are_bounded_in_number() -> None:
    """What was not heard of for longest goes."""
    latencies = Latencies()
    for number in range(10_001):
        latencies.greeted(at(f"mx{number}.test"), 0.001, float(number))
    assert len(latencies) == 10_000
    assert latencies.of(at("mx0.test")).samples == 0
    assert latencies.of(at("mx1.test")).samples == 1


def test_an_old_measure_counts_less_beside_a_new_one() -> None:
    """After ten minutes nothing: the world has changed."""
    latencies = sure(0.100)
    latencies.greeted(at(), 0.200, 0.0)
    assert latencies.of(at()).latency_s == pytest.approx(0.130)
    latencies.greeted(at(), 0.050, 600.0)
    assert latencies.of(at()).latency_s == pytest.approx(0.050)


def test_the_better_of_the_first_two_samples_counts() -> None:
    """The first connection of all may meet a busy machine; one sample is none to be sure of."""
    latencies = Latencies()
    latencies.greeted(at(), 0.900, 0.0)
    assert latencies.of(at()).is_unsure(1.0)
    latencies.greeted(at(), 0.005, 1.0)
    measure = latencies.of(at())
    assert (measure.latency_s, measure.is_unsure(2.0), measure.is_unsure(602.0)) == (0.005, False, True)


@pytest.mark.parametrize(("following", "latency"), [(0.006, 0.006), (0.400, 0.300)])
def test_an_odd_greeting_counts_at_once_and_the_next_one_judges_it(following: float, latency: float) -> None:
    """An exchanger that has become slow loses its mail by the first of them; a moment's trouble is made good."""
    latencies = sure(0.005)
    latencies.greeted(at(), 0.300, 1.0)
    assert (latencies.of(at()).latency_s, latencies.of(at()).is_doubted) == (0.300, True)
    latencies.greeted(at(), following, 2.0)
    measure = latencies.of(at())
    assert (measure.latency_s, measure.is_doubted, measure.is_sure) == (latency, False, True)


def test_what_was_under_way_beside_an_odd_greeting_judges_nothing() -> None:
    """It met the same trouble."""
    latencies = sure(0.005)
    latencies.greeted(at(), 0.300, 1.0)
    latencies.greeted(at(), 0.280, 1.1)
    assert latencies.of(at()).is_doubted
    latencies.greeted(at(), 0.005, 2.0)
    assert latencies.of(at()).latency_s == 0.005


def test_older_connections_do_not_end_the_wait_for_the_one_that_judges() -> None:
    """Else each of them would send another message after it, for as long as there is mail."""
    latencies = sure(0.005)
    latencies.greeted(at(), 0.400, 1.0)
    latencies.asked(at(), 1.1)
    latencies.greeted(at(), 0.400, 1.2)
    assert latencies.of(at()).is_asked(1.3)
    latencies.failed(at(), 1.3, began=0.9)
    assert latencies.of(at()).is_asked(1.3)
    latencies.greeted(at(), 0.400, 1.5)
    assert not latencies.of(at()).is_asked(1.6)


def test_an_exchanger_that_is_slow_every_other_time_is_slow() -> None:
    """On the mean, though it is fast whenever somebody looks again; after a while it is forgotten."""
    latencies = sure(0.005)
    for second in range(1, 41):
        latencies.greeted(at(), 0.400 if second % 2 else 0.005, float(second))
    assert (latencies.of(at()).figure(40.0) or 0.0) > 0.100
    for second in range(41, 81):
        latencies.greeted(at(), 0.005, float(second))
    assert latencies.of(at()).figure(80.0) == pytest.approx(0.005, abs=0.001)


def test_a_greeting_that_is_overdue_is_expected_to_take_as_long_again() -> None:
    """From where it is odd; the wait is that of the first connection that waits."""
    latencies = sure(0.005)
    latencies.asked(at(), 10.0)
    latencies.asked(at(), 10.3)
    assert latencies.of(at()).figure(10.019) == 0.005
    assert latencies.of(at()).figure(10.4) == pytest.approx(0.8)
    latencies.dropped(at())
    assert latencies.of(at()).figure(10.4) == 0.005


def test_the_time_to_connect_is_measured_apart() -> None:
    """It gives the head start in a race."""
    latencies = Latencies()
    latencies.connected(at(), 0.020, 0.0)
    assert (latencies.of(at()).connect_s, latencies.of(at()).latency_s) == (0.020, None)


def test_a_circuit_opens_at_the_third_failure_and_closes_at_a_greeting() -> None:
    """Each of the two is said once."""
    latencies = Latencies()
    said = [latencies.failed(at(), second) for second in (1.0, 2.0, 3.0, 4.0)]
    assert said == [False, False, True, False]
    assert [latencies.greeted(at(), 0.1, second) for second in (5.0, 6.0)] == [True, False]
    assert latencies.of(at()).circuit == CLOSED


def test_failures_of_connections_that_were_under_way_together_are_one() -> None:
    """Ten couriers that lose an exchanger in the same moment know no more than one."""
    latencies = Latencies()
    for _ in range(10):
        latencies.failed(at(), 30.0, began=0.0)
    assert latencies.of(at()).circuit.failures == 1
    latencies.failed(at(), 61.0, began=31.0)
    assert latencies.of(at()).circuit.failures == 2


def test_each_rest_is_twice_as_long_up_to_an_hour() -> None:
    """From a quarter of a minute."""
    circuit, rests = CLOSED, []
    for _ in range(12):
        circuit = circuit.failed(100.0)
        rests.append(circuit.rests_until - 100.0)
    assert rests == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0, 3600.0]


def test_an_open_circuit_may_be_probed_after_its_rest() -> None:
    """What failed once or twice rests too, without being cut off."""
    circuit = CLOSED.failed(100.0).failed(100.0)
    assert (circuit.state(101.0), circuit.is_resting(101.0)) == ("closed", True)
    circuit = circuit.failed(100.0)
    assert [circuit.state(now) for now in (101.0, 159.0, 160.0)] == ["open", "open", "probing"]


def test_what_failed_is_left_alone_while_somebody_tries_it_again() -> None:
    """By all that can go elsewhere; not for longer than half a minute."""
    latencies = Latencies()
    latencies.failed(at(), 0.0)
    assert not latencies.of(at()).is_shut(20.0)
    latencies.asked(at(), 20.0)
    assert latencies.of(at()).is_shut(21.0)
    assert not latencies.of(at()).is_shut(51.0)
    latencies.asked(at(), 60.0)
    latencies.dropped(at())
    assert not latencies.of(at()).is_shut(61.0)


def test_whoever_compares_versions_sees_each_change() -> None:
    """So that a choice need not be made again while nothing is learned."""
    latencies = Latencies()
    seen = {latencies.version}
    latencies.asked(at(), 0.0)
    seen.add(latencies.version)
    latencies.connected(at(), 0.1, 0.0)
    seen.add(latencies.version)
    latencies.greeted(at(), 0.1, 0.0)
    seen.add(latencies.version)
    latencies.failed(at(), 0.0)
    assert len(seen | {latencies.version}) == 5


def test_what_is_measured_now_counts_more_than_what_was_kept() -> None:
    """A start that is slow to read what it kept forgets nothing for it."""
    latencies = Latencies()
    latencies.greeted(at("b.test"), 0.2, 0.0)
    key = ("a.test", ip_address("192.0.2.1"), 25)
    both = ("b.test", ip_address("192.0.2.1"), 25)
    latencies.restore([(key, Measure(latency_s=1.0)), (both, Measure(latency_s=9.0))])
    assert [latencies.of(at(name)).latency_s for name in ("a.test", "b.test")] == [1.0, 0.2]
