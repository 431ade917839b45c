"""Shares: how many transactions of a destination may explore."""

from relayd.deliver.shares import Share, Shares


def test_the_first_eight_explore_when_they_are_wanted() -> None:
    """With few messages 2 % would be none."""
    share = Share()
    for _ in range(8):
        assert share.may_explore
        share.explored += 1
    assert not share.may_explore


def test_of_many_transactions_two_in_a_hundred_explore_at_most() -> None:
    """At any instant after the first 400, whoever wants to."""
    share = Share()
    for number in range(1, 5001):
        share.transactions += 1
        share.explored += share.may_explore
        assert number < 400 or share.explored <= 0.02 * number
    assert share.explored == 100


def test_a_destination_keeps_its_share_and_the_number_is_bounded() -> None:
    """A destination that was idle begins where it was; who was away for longest begins anew."""
    shares = Shares()
    shares.of("a.test").explored = 3
    assert shares.of("a.test").explored == 3
    for number in range(10_000):
        shares.of(f"{number}.test")
    assert shares.of("a.test").explored == 0
