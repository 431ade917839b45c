"""Places: who gets which slot and which part, and when there is none."""

import pytest

from relayd.master.places import MASTER, Place, Places, room_for


def test_the_lowest_free_place_is_given() -> None:
    """So the memory that is looked at stays small; the master's own slot is never given."""
    places = Places(slots=5, parts=2)
    first, second = places.take(worker=True), places.take(worker=False)
    assert (first, second) == (Place(1, 0), Place(2, None))
    assert MASTER not in (first.slot, second.slot)
    places.give_back(first)
    assert places.take(worker=True) == first


def test_no_place_is_given_twice() -> None:
    """IndexError when all are taken, of either kind."""
    places = Places(slots=4, parts=1)
    places.take(worker=True)
    assert not places.has(1, 0)
    assert places.has(0, 2)
    with pytest.raises(IndexError):
        places.take(worker=True)
    places.take(worker=False)
    places.take(worker=False)
    with pytest.raises(IndexError):
        places.take(worker=False)


def test_what_is_taken_already_is_not_free() -> None:
    """By children that another master has begun."""
    places = Places(slots=4, parts=2, taken=[Place(1, 0), Place(2)])
    assert places.take(worker=True) == Place(3, 1)


def test_there_is_room_for_more_than_ten_generations_of_a_few_workers() -> None:
    """Each may have one that a session holds."""
    assert room_for(2) >= 2 * 11
    assert room_for(256) >= 2 * 256
