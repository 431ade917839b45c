"""How long a dead child waits."""

import pytest

from relayd.master.backoff import deaths_in_a_row, delay


@pytest.mark.parametrize(
    ("deaths", "seconds"), [(0, 0.0), (1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 30.0), (10_000, 30.0)]
)
def test_the_pause_doubles_up_to_thirty_seconds(deaths: int, seconds: float) -> None:
    """1, 2, 4 … 30 s, however long the loop goes on."""
    assert delay(deaths) == seconds


def test_a_child_that_lived_a_minute_comes_back_at_once() -> None:
    """Its death begins no loop, and ends one."""
    assert deaths_in_a_row(0, 60.0) == 0
    assert deaths_in_a_row(7, 3600.0) == 0
    assert deaths_in_a_row(7, 59.9) == 8
