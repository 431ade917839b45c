"""What is judged to be wrong, and in which words."""

import dataclasses

import pytest

from relayd.base.health import Facts, in_words, judge
from relayd.base.sections import Health

LIMITS = Health(overdue=300.0, window=600.0, failures=3, restarts=3)
WELL = Facts(
    seconds=600.0,
    restarts=3,
    recent_failures=99,
    waiting=1,
    oldest_due=299.0,
    free=1_200_000_000,
    floor=10**9,
    inodes=1000,
)


def test_what_is_well_has_no_finding() -> None:
    """At the edge of each limit, and where nothing is known."""
    assert judge(WELL, LIMITS) == judge(Facts(), LIMITS) == []
    assert in_words([]) == "all is well"


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (Facts(missing=["worker 2 is missing"]), "worker 2 is missing"),
        (Facts(stuck=["delivery hangs"]), "delivery hangs"),
        (Facts(unreadable="the spool cannot be read"), "the spool cannot be read"),
        (Facts(oldest_due=300.0), "the oldest due message has been due for 5m: see relayd queue list"),
        (
            Facts(free=1_199_000_000, floor=10**9),
            "the spool's disk is nearly full: 1.2 GB free, and 1.0 GB must stay free (spool.minimum_free)",
        ),
        (
            Facts(inodes=999),
            "the spool's disk is nearly full: 999 inodes free; each file takes one",
        ),
        (
            Facts(failed=1),
            "failed/ is not empty: 1 file for a person to look at, see relayd queue list --state failed",
        ),
        (
            Facts(failures=2, failing_seconds=600.0, recent_failures=1, waiting=0),
            "every delivery of the last 10m failed: 2 attempts, see relayd queue list --by destination",
        ),
        (
            Facts(failures=1, failing_seconds=42.0, waiting=1),
            "every delivery of the last 42s failed: 1 attempt, see relayd queue list --by destination",
        ),
        (
            Facts(restarts=4, seconds=900.0),
            "processes were restarted 4 times in the last 10m: the log has the reasons as process.died",
        ),
    ],
)
def test_each_finding_is_one_line(facts: Facts, line: str) -> None:
    """One thing is wrong, and it is named with its number."""
    assert judge(facts, LIMITS) == [line]


def test_a_disk_that_may_be_filled_is_nearly_full_at_its_end() -> None:
    """minimum_free = 0 is no reason to say nothing."""
    assert judge(Facts(free=16 << 20, floor=0), LIMITS) == []
    assert judge(Facts(free=1000, floor=0), LIMITS)[0].startswith("the spool's disk is nearly full: 1.0 kB free")


def test_the_worst_comes_first_and_all_are_said() -> None:
    """A missing process explains the mail that waits."""
    found = judge(Facts(missing=["delivery is missing"], oldest_due=900.0, failed=2), LIMITS)
    assert in_words(found) == (
        "delivery is missing; the oldest due message has been due for 15m: see relayd queue list; "
        "failed/ is not empty: 2 files for a person to look at, see relayd queue list --state failed"
    )


def test_failures_of_some_time_ago_matter_while_mail_waits() -> None:
    """What was refused for good is over, once it is out of the window; who cannot see the queue says it still."""
    failing = Facts(failures=5, failing_seconds=7200.0, waiting=0)
    assert judge(failing, LIMITS) == []
    assert judge(dataclasses.replace(failing, waiting=1), LIMITS) != []
    assert judge(dataclasses.replace(failing, waiting=None), LIMITS) != []
