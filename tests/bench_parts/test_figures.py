"""The benchmark's statistics: medians, percentiles, ratios, and what is said of the bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.bounds import BOUNDS, Bound, Verdict, verdicts
from tests.bench.cases import CASES
from tests.bench.figures import medians, percentile, ratios


def test_a_median_is_of_the_rounds_that_have_the_figure() -> None:
    """The run that was looked at closely has none of the rates."""
    rounds = [{"accepted": 3.0}, {"accepted": 1.0}, {"accepted": 2.0}, {"fsyncs": 1.5}]
    assert medians(rounds) == {"accepted": 2.0, "fsyncs": 1.5}


def test_ratios_are_of_the_rounds_that_ran_together() -> None:
    """A machine that is slow for one round slows both sides of it."""
    assert ratios([{"x": 8.0}, {"x": 2.0}], [{"x": 4.0}, {"x": 1.0}], "x") == [2.0, 2.0]


def test_a_round_without_its_pair_has_no_ratio() -> None:
    """Neither one that is missing, nor one without the figure, nor a zero below."""
    assert ratios([{"x": 1.0}, {"x": 1.0}, {"x": 1.0}], [{"x": 0.0}, {"y": 1.0}], "x") == []


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 100))
@settings(max_examples=50)
def test_a_percentile_is_a_value_that_enough_do_not_pass(values: list[float], percent: float) -> None:
    """And the next lower one would not be enough."""
    found = percentile(values, percent)
    assert found in values
    share = len(values) * percent / 100
    assert sum(each <= found for each in values) >= share - 1e-9
    if found > min(values):
        assert sum(each < found for each in values) < share + 1e-9


def test_of_nothing_there_is_no_percentile() -> None:
    """Rather than a zero that looks like a figure."""
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "is_least", "word"),
    [
        (4.0, True, "aim reached"),
        (3.5, True, "bound reached"),
        (2.9, True, "MISSED"),
        (1.0, False, "aim reached"),
        (3.0, False, "bound reached"),
        (3.1, False, "MISSED"),
    ],
)
def test_a_verdict_says_how_far_a_figure_came(value: float, is_least: bool, word: str) -> None:
    """At least for rates, at most for what is spent; the limit itself is reached."""
    bound = Bound("", "case", "x", "", 3.0, 4.0 if is_least else 1.0, is_least)
    assert Verdict(bound, value, value, value).word == word


def test_bounds_of_what_did_not_run_are_left_out() -> None:
    """Without Postfix there is no ratio to it, and without the case no word at all."""
    found = {"headline": {"relayd": [{"accepted": 2.0, "idle_mb": 60.0}], "floor": [{"accepted": 4.0}]}}
    said = {each.bound.text: each.value for each in verdicts(found)}
    assert said == {"headline, accept rate against the floor": 0.5, "whole idle, PSS": 60.0}


def test_a_figure_can_be_bound_to_another_of_the_same_run() -> None:
    """Memory with large messages over that with small ones."""
    bound = Bound("growth", "25-mb", "peak_mb", "", 1.2, 1.05, False, over="small_peak_mb")
    found = {"25-mb": {"relayd": [{"mb_s": 9.0}, {"peak_mb": 66.0, "small_peak_mb": 60.0}]}}
    assert [each.value for each in verdicts(found, [bound])] == [pytest.approx(1.1)]


def test_each_bound_is_about_a_case_that_there_is() -> None:
    """And its aim is not easier than the bound."""
    names = {case.name for case in CASES}
    for each in BOUNDS:
        assert each.case in names
        assert (each.aim >= each.bound) is each.is_least
