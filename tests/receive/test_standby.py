"""A standby: what one worker leaves to the others, and what it does not."""

from relayd.base.tally import Tally
from relayd.receive.standby import Standby

NOW = 1000.0
CLIENT = b"\x7f\0\0\1"


def test_a_few_connections_are_left_for_a_moment() -> None:
    """Twenty that come at once, and a few later."""
    standby = Standby(Tally(2).hand(1))
    assert all(0 < standby.wait(NOW) < 0.1 for _ in range(20))
    assert all(0 < standby.wait(NOW + later) < 0.1 for later in range(20))


def test_of_connections_that_come_all_the_time_it_takes_its_part() -> None:
    """After the first ones nearly each is taken as soon as it is seen."""
    standby = Standby(Tally(2).hand(1))
    waits = [standby.wait(NOW + number / 100) for number in range(1000)]
    assert waits[40:].count(0.0) > 900


def test_when_they_become_few_again_they_are_left_again() -> None:
    """A minute later nothing is held against them."""
    standby = Standby(Tally(2).hand(1))
    assert [standby.wait(NOW) for _ in range(100)][-1] == 0.0
    assert all(standby.wait(NOW + 60) for _ in range(20))


def test_it_leaves_nothing_to_others_that_have_many_more_sessions() -> None:
    """And leaves again when it has as many."""
    tally = Tally(3)
    others, own = [tally.hand(0), tally.hand(1)], tally.hand(2)
    standby = Standby(own)
    for _ in range(31):
        others[0].opened(CLIENT, NOW)
        others[1].opened(CLIENT, NOW)
    assert standby.wait(NOW)
    others[1].opened(CLIENT, NOW)
    assert standby.wait(NOW) == 0.0
    own.opened(CLIENT, NOW)
    assert standby.wait(NOW)
