"""Loners: an exchanger is one for a while, and the oldest are forgotten first."""

from relayd.deliver.loners import Loners


def test_an_exchanger_is_one_for_so_long() -> None:
    """From the last time that it was found to be."""
    loners = Loners(100.0)
    assert not loners.has("mx.test", 0.0)
    loners.add("mx.test", 0.0)
    loners.add("mx.test", 50.0)
    assert loners.has("mx.test", 149.0)
    assert not loners.has("mx.test", 150.0)
    assert not loners.has("other.test", 50.0)


def test_they_are_bounded_in_number() -> None:
    """The one that was noted longest ago goes."""
    loners = Loners(100.0)
    for number in range(10_000):
        loners.add(f"{number}.test", 0.0)
    loners.add("0.test", 1.0)
    loners.add("new.test", 1.0)
    assert [loners.has(f"{number}.test", 1.0) for number in (0, 1, 2)] == [True, False, True]
    assert loners.has("new.test", 1.0)
