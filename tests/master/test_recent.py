"""What happened in a window of time."""

from relayd.master.recent import Past, Recent


def test_a_young_relay_looks_back_to_its_start() -> None:
    """The window is no longer than its life."""
    recent = Recent(1000.0)
    assert recent.past(1030.0, 600.0, 2, 1) == Past(30.0, 0, 2, 1)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Deliveries to within ten seconds, restarts to the second."""
    recent = Recent(0.0)
    recent.restarted(0.0)
    recent.restarted(5.0)
    for now in range(10, 600, 10):
        recent.past(now, 600.0, 5, 0)
    assert recent.past(604.0, 600.0, 5, 3) == Past(600.0, 1, 5, 3)
    assert recent.past(620.0, 600.0, 5, 3) == Past(600.0, 0, 0, 3)


def test_a_failure_before_the_window_is_no_failure_in_it() -> None:
    """And a success before it is none either."""
    recent = Recent(0.0)
    for now in range(0, 1300, 10):
        recent.past(now, 600.0, 10, 10)
    assert recent.past(1300.0, 600.0, 10, 11) == Past(600.0, 0, 0, 1)


def test_a_long_window_is_sampled_less_often() -> None:
    """A window of a day keeps no more than a few hundred samples."""
    recent = Recent(0.0)
    for now in range(0, 200_000, 10):
        recent.past(now, 86_400.0, now, 0)
    assert len(recent._samples) < 400
    assert 86_400 <= recent.past(200_000.0, 86_400.0, 200_000, 0).delivered <= 86_400 + 240
