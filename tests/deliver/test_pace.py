"""A pace: how many messages go in any time, and what becomes of those whose slot is far away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.deliver.pace import Pace

RATES = st.floats(0.001, 1000.0)


def sent(pace: Pace, now: float) -> int:
    """How many go at an instant."""
    count = 0
    while pace.wait(now) < 1e-6:
        pace.take(now)
        count += 1
    return count


@pytest.mark.parametrize(("rate", "at_once"), [(5.0, 5), (1.0, 1), (100 / 60, 1), (0.1, 1), (100.0, 100)])
def test_a_second_s_worth_goes_at_once_and_one_in_any_case(rate: float, at_once: int) -> None:
    """After a time without mail, however long it was."""
    pace = Pace(rate)
    assert sent(pace, 1000.0) == at_once
    assert pace.wait(1000.0) == pytest.approx(1 / rate, rel=0.7)
    assert sent(pace, 1e6) == at_once


@given(rate=RATES, gaps=st.lists(st.floats(0.0, 10.0), max_size=30))
def test_no_time_has_more_than_its_share_and_a_second_s_worth(rate: float, gaps: list[float]) -> None:
    """Whenever somebody looks."""
    pace, now, count = Pace(rate), 50.0, 0
    for gap in gaps:
        now += gap
        while count < 5000 and pace.wait(now) == 0.0:
            pace.take(now)
            count += 1
        assert count <= rate * (now - 50.0) + max(1.0, rate) + 1e-6


def test_slots_are_taken_ahead_one_after_the_other() -> None:
    """Each taker waits for its own."""
    pace = Pace(1.0)
    waits = []
    for _ in range(4):
        waits.append(pace.wait(10.0))
        pace.take(10.0)
    assert waits == [0.0, 1.0, 2.0, 3.0]


def test_a_slot_that_is_given_back_is_the_next_one_s() -> None:
    """It is not lost."""
    pace = Pace(1.0)
    pace.take(10.0)
    pace.take(10.0)
    pace.give_back()
    assert pace.wait(10.0) == 1.0


def test_the_line_gives_each_message_the_instant_of_its_slot() -> None:
    """It begins where those end that wait here, and moves on with the time."""
    pace = Pace(2.0)
    assert pace.room(10.0) == 21
    assert [pace.join(100.0, 10.0, 60.0) for _ in range(3)] == [10.5, 11.0, 11.5]
    assert pace.join(105.0, 10.0, 60.0) == 10.5
    assert pace.join(105.0, 5.0, 60.0) == 11.0


def test_who_would_wait_too_long_has_no_slot_so_that_none_stays_empty() -> None:
    """Whoever joins again at that instant finds the line where it is then, not where all together had put it."""
    pace = Pace(1.0)
    assert [pace.join(100.0, 10.0, 12.0) for _ in range(50)] == [11.0, 12.0] + 48 * [12.0]
    pace.take(112.0)
    assert [pace.join(112.0, 10.0, 12.0) for _ in range(48)] == [11.0, 12.0] + 46 * [12.0]


def test_slots_that_are_claimed_are_not_free_and_do_not_come_later() -> None:
    """Who claims one takes the next when it is ready; it is not before its time, however long that took."""
    pace = Pace(1.0)
    pace.claim()
    pace.claim()
    assert pace.wait(10.0) == 2.0
    pace.unclaim()
    assert pace.take(15.0) == 0.0
    assert pace.wait(15.0) == 2.0
    pace.unclaim()
    assert pace.take(15.0) == 1.0
    assert pace.wait(15.0) == 2.0


def test_a_line_whose_messages_are_gone_is_forgotten() -> None:
    """Slots go unused; what comes now need not wait behind nobody. While they are used, it lasts."""
    pace = Pace(1.0)
    for _ in range(100):
        pace.join(0.0, 10.0, 1000.0)
    for now in range(50):
        pace.take(float(now))
    assert pace.join(50.0, 10.0, 1000.0) == 61.0
    assert pace.join(65.0, 10.0, 1000.0) == 11.0
