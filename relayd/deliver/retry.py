"""Retry: when a message is tried again and when it is given up. Pure: the time and the randomness are handed in.

The early intervals are shorter than the 30 minutes of RFC 5321 section 4.5.4.1: most temporary failures (a
restart, greylisting) are over in minutes. The lifetime is judged only after a failed attempt.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

_SPREAD = 0.1


def next_attempt(intervals: Sequence[float], attempt: int, now: datetime, dice: random.Random) -> datetime:
    """When to try again after the attempt of this number (from 1); the last interval repeats, each is ±10 %."""
    interval = intervals[min(attempt, len(intervals)) - 1]
    return now + timedelta(seconds=interval * dice.uniform(1 - _SPREAD, 1 + _SPREAD))


def longest(intervals: Sequence[float]) -> float:
    """The longest time that can pass between two attempts, in seconds."""
    return max(intervals) * (1 + _SPREAD)


def is_expired(arrived: datetime, lifetime: float, now: datetime) -> bool:
    """Whether a message that has just failed once more has waited long enough (section 4.5.4.1)."""
    return now - arrived >= timedelta(seconds=lifetime)
