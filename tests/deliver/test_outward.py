"""Outward: when the way out looks blocked."""

from relayd.deliver.outward import Outward


def test_several_destinations_that_all_time_out_look_like_a_block() -> None:
    """Since the first of them."""
    outward = Outward()
    for number in range(3):
        assert not outward.looks_blocked
        outward.timed_out(f"{number}.test", 10.0 + number)
    assert (outward.looks_blocked, outward.since) == (True, 10.0)


def test_one_destination_is_not_every_destination() -> None:
    """However often it times out."""
    outward = Outward()
    for second in range(100):
        outward.timed_out("example.net", float(second))
    assert not outward.looks_blocked


def test_any_answer_says_that_the_way_is_open() -> None:
    """What follows is judged anew."""
    outward = Outward()
    for number in range(3):
        outward.timed_out(f"{number}.test", 10.0)
    outward.answered()
    assert not outward.looks_blocked
    outward.timed_out("0.test", 20.0)
    assert (outward.looks_blocked, outward.since) == (False, 20.0)
