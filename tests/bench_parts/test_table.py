"""What the benchmark prints."""

from tests.bench.bounds import Bound, Verdict
from tests.bench.table import aligned, judged, table


def test_the_table_has_a_row_of_medians_for_each_subject() -> None:
    """Only columns that somebody has a figure in."""
    found = {
        "headline": {
            "relayd": [{"accepted": 100.0, "cpu_us": 250.4}, {"accepted": 300.0, "cpu_us": 250.4}],
            "floor": [{"accepted": 4000.0}],
        }
    }
    assert table(found) == (
        "case              accept/s  CPU µs\nheadline  relayd       200     250\nheadline  floor       4000"
    )


def test_a_subject_that_gave_nothing_has_a_row_all_the_same() -> None:
    """It is seen that it failed."""
    assert table({"headline": {"relayd": [], "floor": [{"accepted": 1.0}]}}).splitlines()[1] == "headline  relayd"


def test_a_verdict_is_printed_with_bound_and_aim() -> None:
    """And with the range of the rounds."""
    bound = Bound("memory", "headline", "idle_mb", "", 70.0, 50.0, False, unit=" MB")
    assert judged([Verdict(bound, 60.0, 59.0, 61.0)]).splitlines()[1].split("  ") == [
        "memory",
        "60.0 MB",
        "59.0 MB",
        "61.0 MB",
        "≤ 70 MB",
        "≤ 50 MB",
        "bound reached",
    ]


def test_words_stand_to_the_left_and_numbers_to_the_right() -> None:
    """Nothing trails a line."""
    assert aligned([["a", "n"], ["bcd", "10"], ["e", ""]], words=1) == "a     n\nbcd  10\ne"
