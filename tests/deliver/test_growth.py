"""How many connections a destination may have, after what has happened to it."""

from relayd.deliver.growth import Growth


def test_in_good_times_there_may_be_all_of_them_at_once() -> None:
    """Nothing is known against it."""
    growth = Growth(10)
    assert not growth.is_slow
    assert growth.allows_another(9, 0.0)
    assert not growth.allows_another(10, 0.0)


def test_after_a_failure_they_double_with_each_round() -> None:
    """1, 2, 4, 8, and then all: each message that is carried allows one more."""
    growth = Growth(10)
    growth.begin_again()
    rounds = [growth.allowed]
    while growth.is_slow:
        for _ in range(growth.allowed):
            growth.carried()
        rounds.append(growth.allowed)
    assert rounds == [1, 2, 4, 8, 10]
    growth.carried()
    assert growth.allowed == 10


def test_after_a_refusal_beside_others_there_is_none_for_a_while_and_then_one() -> None:
    """A server that bounds its connections is asked for one more now and then."""
    growth = Growth(10)
    growth.refused(3, until=30.0)
    assert not growth.allows_another(3, 29.0)
    assert growth.allows_another(3, 30.0)
    assert not growth.allows_another(4, 30.0)
    growth.carried()
    assert growth.allows_another(4, 30.0)


def test_the_first_one_may_always_be_opened() -> None:
    """Somebody has to find out."""
    growth = Growth(1)
    growth.refused(0, until=30.0)
    assert growth.allows_another(0, 0.0)
    assert not growth.allows_another(1, 60.0)
