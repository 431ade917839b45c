"""How long a destination that cannot be reached is left alone, over days and without waiting."""

import random
from datetime import UTC, datetime, timedelta

from relayd.deliver.backoff import Backoffs
from relayd.deliver.parcel import Via
from relayd.smtp.reply import reply

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
REFUSED = reply(451, "4.4.1", "connect to 192.0.2.1:25: refused")
INTERVALS = (300.0, 900.0, 1800.0)


def test_the_rest_grows_with_each_failure_as_the_schedule_has_it() -> None:
    """Five days: each rest is its interval ±10 %, and the last one repeats."""
    backoffs = Backoffs(INTERVALS, random.Random(1))
    now, rests = NOON, []
    while now < NOON + timedelta(days=5):
        closed = backoffs.failed("example.net", REFUSED, Via(), now)
        rests.append((closed.until - now).total_seconds())
        assert backoffs.of("example.net", closed.until - timedelta(seconds=1)) is closed
        assert backoffs.of("example.net", closed.until) is None
        now = closed.until
    expected = [300.0, 900.0] + [1800.0] * (len(rests) - 2)
    assert all(0.9 * want <= got <= 1.1 * want for want, got in zip(expected, rests, strict=True))
    assert len(set(rests)) == len(rests)


def test_a_failure_while_it_rests_changes_nothing() -> None:
    """Several connections may fail at once; that is one failure."""
    backoffs = Backoffs(INTERVALS, random.Random(1))
    first = backoffs.failed("example.net", REFUSED, Via(), NOON)
    assert backoffs.failed("example.net", REFUSED, Via(), NOON + timedelta(seconds=1)) is first
    assert first.failures == 1


def test_reaching_it_forgets_all_failures() -> None:
    """The next rest is the shortest again; others are not concerned."""
    backoffs = Backoffs(INTERVALS, random.Random(1))
    for name in ("example.net", "example.org"):
        backoffs.failed(name, REFUSED, Via(), NOON)
    assert backoffs.reached("example.net")
    assert not backoffs.reached("example.net")
    assert backoffs.of("example.net", NOON) is None
    assert backoffs.of("example.org", NOON) is not None
    assert backoffs.failed("example.net", REFUSED, Via(), NOON).failures == 1


def test_only_so_many_are_remembered() -> None:
    """The one that failed longest ago is forgotten first."""
    backoffs = Backoffs(INTERVALS, random.Random(1))
    for number in range(10_001):
        backoffs.failed(f"d{number}.test", REFUSED, Via(), NOON)
    assert backoffs.of("d0.test", NOON) is None
    assert backoffs.of("d10000.test", NOON) is not None


def test_a_clock_that_is_set_back_lets_nothing_rest_for_ever() -> None:
    """A rest that seems longer than any is over, and the next failure begins one."""
    backoffs = Backoffs(INTERVALS, random.Random(1))
    backoffs.failed("example.net", REFUSED, Via(), NOON)
    before = NOON - timedelta(days=365)
    assert backoffs.of("example.net", before) is None
    closed = backoffs.failed("example.net", REFUSED, Via(), before)
    assert before < closed.until < before + timedelta(hours=1)
    assert backoffs.of("example.net", before) is closed
