"""What happened in a window of time."""

import dataclasses

from relayd.base.sections import Health
from relayd.master.recent import Past, Recent

LIMITS = Health(overdue=300.0, window=600.0, failures=3, restarts=3)


def test_a_young_relay_looks_back_to_its_start() -> None:
    """The window is no longer than its life."""
    recent = Recent(1000.0)
    recent.restarted(1010.0)
    assert recent.past(1030.0, LIMITS, 0, 3) == Past(30.0, 1, 3, 3, 30.0)


def test_fewer_failures_are_those_of_one_message() -> None:
    """A greylisted one on a quiet relay; and an operator may want to hear of the first."""
    assert Recent(0.0).past(30.0, LIMITS, 0, 2) == Past(30.0, 0, 2, 0, 0.0)
    assert Recent(0.0).past(30.0, dataclasses.replace(LIMITS, failures=1), 0, 1).failures == 1
    recent = Recent(0.0)
    # One more each eleven minutes: never enough in one window.
    for now in range(0, 6600, 10):
        assert recent.past(float(now), LIMITS, 0, now // 660).failures == 0


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Failures to within ten seconds, restarts to the second."""
    recent = Recent(0.0)
    recent.restarted(0.0)
    recent.restarted(5.0)
    for now in range(10, 600, 10):
        recent.past(now, LIMITS, 5, 2)
    assert recent.past(604.0, LIMITS, 5, 3) == Past(600.0, 1, 3, 0, 0.0)
    assert recent.past(620.0, LIMITS, 5, 3) == Past(600.0, 0, 1, 0, 0.0)


def test_a_success_in_the_window_is_enough() -> None:
    """Once it is out of it, all that is left are failures, and those since the success are told."""
    recent = Recent(0.0)
    recent.past(10.0, LIMITS, 1, 0)
    for now in range(20, 610, 10):
        assert recent.past(now, LIMITS, 1, now).failures == 0
    assert recent.past(620.0, LIMITS, 1, 620) == Past(600.0, 0, 600, 620, 610.0)


def test_where_all_failed_they_do_until_one_succeeds() -> None:
    """What rests is tried ever less often: a window without an attempt is no recovery."""
    recent = Recent(0.0)
    recent.past(10.0, LIMITS, 0, 3)
    for now in range(20, 7000, 10):
        found = recent.past(now, LIMITS, 0, 3)
    assert found == Past(600.0, 0, 0, 3, 6990.0)
    assert recent.past(7000.0, LIMITS, 0, 4).failures == 4
    assert recent.past(7010.0, LIMITS, 1, 4).failures == 0
    assert recent.past(7020.0, LIMITS, 1, 4).failures == 0


def test_what_was_before_the_beginning_is_no_news() -> None:
    """The totals of an earlier version."""
    assert Recent(0.0, 100, 100).past(10.0, LIMITS, 100, 102) == Past(10.0, 0, 2, 0, 0.0)


def test_a_long_window_is_sampled_less_often() -> None:
    """A window of a day keeps no more than a few hundred samples."""
    recent, day = Recent(0.0), dataclasses.replace(LIMITS, window=86_400.0)
    for now in range(0, 200_000, 10):
        recent.past(now, day, 0, now)
    assert len(recent._samples) < 400
    assert 86_400 <= recent.past(200_000.0, day, 0, 200_000).recent_failures <= 86_400 + 240
