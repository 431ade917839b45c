"""Retry: the schedule over five days, and the end of it, without waiting for any of it."""

import random
from datetime import timedelta

import pytest

from relayd.deliver.retry import is_expired, longest, next_attempt
from tests.deliver.making import NOON

SCHEDULE = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
FIVE_DAYS = 432_000.0


@pytest.mark.parametrize(("attempt", "interval"), [*enumerate(SCHEDULE, start=1), (7, 14400.0), (500, 14400.0)])
def test_each_attempt_has_its_interval_and_the_last_repeats(attempt: int, interval: float) -> None:
    """Give or take a tenth."""
    dice = random.Random(attempt)
    for _ in range(100):
        seconds = (next_attempt(SCHEDULE, attempt, NOON, dice) - NOON).total_seconds()
        assert 0.9 * interval <= seconds <= 1.1 * interval


def test_intervals_are_spread() -> None:
    """Messages that failed together do not come back together."""
    dice = random.Random(1)
    assert len({next_attempt(SCHEDULE, 1, NOON, dice) for _ in range(100)}) > 90


def test_five_days_are_about_thirty_attempts() -> None:
    """The first within minutes, then every four hours, and the last one gives up."""
    dice = random.Random(1)
    now, attempts = NOON, 1
    while not is_expired(NOON, FIVE_DAYS, now):
        now = next_attempt(SCHEDULE, attempts, now, dice)
        attempts += 1
        if attempts == 4:
            assert now - NOON < timedelta(hours=1)
    assert 30 <= attempts <= 40
    assert now - NOON < timedelta(seconds=FIVE_DAYS + longest(SCHEDULE))


def test_a_message_expires_when_its_lifetime_is_over() -> None:
    """Not a moment before."""
    assert not is_expired(NOON, 60.0, NOON + timedelta(seconds=59.9))
    assert is_expired(NOON, 60.0, NOON + timedelta(seconds=60))


def test_the_longest_interval_has_its_spread() -> None:
    """What the spool may believe of a date far ahead."""
    assert longest(SCHEDULE) == pytest.approx(15840.0)
