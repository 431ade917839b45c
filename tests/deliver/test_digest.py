"""When failures are told one by one, and when in one summary an hour."""

from datetime import UTC, datetime, timedelta

from relayd.deliver.digest import Digests, Verdict

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_first_few_of_an_hour_are_told_at_once() -> None:
    """And the next hour's again."""
    digests = Digests(2)
    verdicts = [digests.judge("a@example.org", NOON + number * 31 * MINUTE)[0] for number in range(4)]
    assert verdicts == [Verdict.TELL] * 4


def test_the_rest_waits_for_a_summary_an_hour_after_the_first_of_it() -> None:
    """All of it for the same instant; other originators are not concerned."""
    digests = Digests(2)
    for _ in range(2):
        digests.judge("a@example.org", NOON)
    due = NOON + 70 * MINUTE
    assert digests.judge("a@example.org", NOON + 10 * MINUTE) == (Verdict.WAIT, due)
    assert digests.judge("a@example.org", NOON + 69 * MINUTE) == (Verdict.WAIT, due)
    assert digests.judge("b@example.org", NOON + 69 * MINUTE)[0] is Verdict.TELL
    assert digests.judge("a@example.org", due) == (Verdict.SUMMARISE, due)


def test_after_the_summary_an_hour_begins_anew() -> None:
    """The summary counts as one of its notifications."""
    digests = Digests(2)
    for _ in range(3):
        digests.judge("a@example.org", NOON)
    later = NOON + 60 * MINUTE
    assert digests.judge("a@example.org", later)[0] is Verdict.SUMMARISE
    digests.summarised("a@example.org", later)
    assert digests.judge("a@example.org", later)[0] is Verdict.TELL
    assert digests.judge("a@example.org", later) == (Verdict.WAIT, later + 60 * MINUTE)


def test_only_so_many_originators_are_remembered() -> None:
    """The one that was heard of longest ago is forgotten first."""
    digests = Digests(1)
    for number in range(10_001):
        digests.judge(f"a{number}@example.org", NOON)
    assert digests.judge("a0@example.org", NOON)[0] is Verdict.TELL
    assert digests.judge("a10000@example.org", NOON)[0] is Verdict.WAIT


def test_a_clock_that_is_set_back_lets_nothing_wait_for_longer() -> None:
    """What is owed comes an hour later at most, and what was told in the future counts no more."""
    digests = Digests(1)
    for _ in range(2):
        digests.judge("a@example.org", NOON)
    before = NOON - timedelta(days=365)
    due = before + 60 * MINUTE
    assert digests.judge("a@example.org", before) == (Verdict.WAIT, due)
    assert digests.judge("a@example.org", due)[0] is Verdict.SUMMARISE
    digests = Digests(1)
    digests.judge("a@example.org", NOON)
    assert digests.judge("a@example.org", before)[0] is Verdict.TELL
