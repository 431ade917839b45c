"""What an exchanger bears, shared by the destinations that want it: nobody has more, and nobody waits for ever."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.base.sections import Limit
from relayd.deliver.quotas import Full, Lease, Quota, Quotas

MX = "mx.hoster.test"


@dataclass(eq=False)
class Guest:
    """A destination as a quota sees it; `needs` are the places that it still has a use for."""

    name: str = ""
    needs: int = 1
    invited: list[Quota] = field(default_factory=list)
    asked_to_make_way: int = 0

    def invite(self, quota: Quota) -> bool:
        """Take it while there is a need."""
        if not self.needs:
            return False
        self.needs -= 1
        self.invited.append(quota)
        return True

    def make_way(self) -> None:
        """Count it."""
        self.asked_to_make_way += 1


def quota(connections: int | None = 1) -> Quota:
    """One that bears so many."""
    return Quota(Limit(connections=connections))


def lease(quotas: Quotas, guest: Guest, *, own: str = "", now: float = 0.0, held: Quota | None = None) -> Lease:
    """A courier's, with a clock that stands still, that waits two seconds for a slot."""
    return Lease(quotas, quotas.of(own), guest, lambda: now, 2.0, held)


def test_there_are_as_many_places_as_connections() -> None:
    """Whoever wants one more stands in line."""
    two, guest, other = quota(2), Guest(), Guest()
    assert two.enter(guest)
    assert two.enter(guest)
    assert not two.enter(other)
    assert two.is_wanted(guest)
    assert not two.is_wanted(other), "it is the only one"
    assert two.has_in_line(other)
    assert not two.has_in_line(guest)


def test_who_has_a_place_is_asked_to_make_way() -> None:
    """An idle connection is given back then."""
    one, guest, other = quota(), Guest(), Guest()
    one.enter(guest)
    one.enter(other)
    assert (guest.asked_to_make_way, other.asked_to_make_way) == (1, 0)


def test_who_wants_more_than_there_is_does_not_make_way_for_itself() -> None:
    """Its connections are kept, as long as nobody else wants them."""
    one, guest = quota(), Guest()
    one.enter(guest)
    assert not one.enter(guest)
    assert guest.asked_to_make_way == 0
    assert not one.is_wanted(guest)
    one.enter(Guest())
    assert one.is_wanted(guest)


def test_a_place_goes_to_the_one_that_stands_there_longest() -> None:
    """Also before the one that gives it back, and wants another."""
    one, first, second, third = quota(), Guest(), Guest(), Guest()
    assert one.enter(first)
    assert not one.enter(second)
    assert not one.enter(third)
    one.leave(first)
    assert second.invited == [one]
    assert not one.enter(first), "the place is taken"
    one.leave(second)
    assert third.invited == [one]
    one.leave(third)
    assert first.invited == [one]
    one.leave(first)
    assert not one.is_wanted(second)
    assert one.enter(second)


def test_a_place_that_is_not_needed_any_more_goes_on() -> None:
    """Its mail has taken another way meanwhile."""
    one, first, gone, third = quota(), Guest(), Guest(needs=0), Guest()
    one.enter(first)
    one.enter(gone)
    one.enter(third)
    one.leave(first)
    assert (gone.invited, third.invited) == ([], [one])
    one.leave(third)
    assert one.enter(gone)


def test_without_a_bound_nobody_stands_in_line() -> None:
    """A limit may be about messages only."""
    unbound, guest = quota(None), Guest()
    assert all(unbound.enter(guest) for _ in range(100))
    unbound.leave(guest)
    assert not unbound.is_wanted(Guest())


@given(
    connections=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60),
)
def test_no_more_are_open_than_allowed_and_no_place_is_lost(
    connections: int, steps: list[tuple[int, bool]]
) -> None:
    """Whoever comes and goes, in any order."""
    bound = quota(connections)
    guests = [Guest(str(number), needs=1000) for number in range(4)]
    held = [0] * 4
    for number, comes in steps:
        guest = guests[number]
        if comes:
            held[number] += bound.enter(guest)
        elif held[number]:
            held[number] -= 1
            bound.leave(guest)
        for index, each in enumerate(guests):
            held[index] += len(each.invited)
            each.invited.clear()
        assert sum(held) <= connections
        assert not (bound.is_wanted(Guest()) and sum(held) < connections), (
            "a place stays empty beside somebody in line"
        )


# What a courier has of them.


def test_a_lease_takes_the_exchanger_s_place_and_gives_the_last_one_s_back() -> None:
    """It is connected to one at a time."""
    quotas = Quotas({MX: Limit(connections=1), "mx2.hoster.test": Limit(connections=1)})
    first, second = Guest(), Guest()
    held = lease(quotas, first)
    held.admit("MX.Hoster.Test")
    with pytest.raises(Full) as full:
        lease(quotas, second).admit(MX)
    assert full.value.quota is quotas.of(MX)
    held.admit("mx2.hoster.test")
    assert second.invited == [quotas.of(MX)]
    held.admit("another.test")
    other = lease(quotas, second)
    other.admit("mx2.hoster.test")
    other.release()
    other.release()
    held.release()


def test_a_guest_that_was_invited_has_its_place_already() -> None:
    """It is not to stand in line behind itself."""
    quotas = Quotas({MX: Limit(connections=1)})
    guest = Guest()
    bound = quotas.of(MX)
    assert bound is not None
    bound.enter(guest)
    held = lease(quotas, guest, held=bound)
    held.admit(MX)
    held.release()
    assert bound.enter(Guest())


def test_the_place_of_a_connection_that_says_quit_is_free_when_it_is_gone() -> None:
    """Until then the exchanger counts it."""
    quotas = Quotas({MX: Limit(connections=1)})
    guest = Guest()
    held = lease(quotas, guest)
    held.admit(MX)
    gone = held.parting()
    held.release()
    with pytest.raises(Full):
        lease(quotas, guest).admit(MX)
    gone()
    assert len(guest.invited) == 1


def test_the_strictest_of_the_domain_and_the_exchanger_bounds_the_messages() -> None:
    """And what holds for all connections."""
    quotas = Quotas({"example.net": Limit(messages=20), MX: Limit(messages=5)})
    held = lease(quotas, Guest(), own="example.net")
    assert held.messages(100) == 20
    held.admit(MX)
    assert held.messages(100) == 5
    assert held.messages(3) == 3
    assert lease(quotas, Guest()).messages(100) == 100


def test_the_slowest_pace_holds_and_both_are_taken_from() -> None:
    """The exchanger's is shared with other domains."""
    quotas = Quotas({"example.net": Limit(rate=10.0), MX: Limit(rate=1.0)})
    held, other = lease(quotas, Guest(), own="example.net"), lease(quotas, Guest())
    held.admit(MX)
    other.admit(MX)
    assert held.take_slot() == 0.0
    assert other.take_slot() == 1.0
    assert held.take_slot() == 2.0
    assert held.take_slot() is None, "further away than the patience"
    other.give_slot_back()
    assert held.take_slot() == 2.0


def test_nobody_opens_a_connection_for_a_slot_that_another_one_has_claimed() -> None:
    """A hoster with a slow pace is not met by all its domains at each slot, of which one sends."""
    quotas = Quotas({MX: Limit(rate=0.1)})
    first, second = lease(quotas, Guest()), lease(quotas, Guest())
    first.admit(MX)
    with pytest.raises(Full) as full:
        second.admit(MX)
    assert full.value.seconds == 10.0
    first.release()
    second.admit(MX)
    second.admit("mx2.hoster.test")
    first.admit(MX)
    assert first.take_slot() == 0.0
    assert first.take_slot() is None


def test_a_claim_is_for_one_message() -> None:
    """Also where it is of two paces, and whoever has one is not kept waiting for another."""
    quotas = Quotas({"example.net": Limit(rate=0.5), MX: Limit(rate=1.0)})
    held, other = lease(quotas, Guest(), own="example.net"), lease(quotas, Guest())
    held.admit(MX)
    held.admit(MX)
    held.check()
    other.admit(MX)
    assert held.take_slot() == 0.0
    assert other.take_slot() == 1.0
    assert held.take_slot() == 2.0
    assert held.take_slot() is None


def test_while_the_next_slot_is_far_away_no_connection_is_opened() -> None:
    """It would be held for nothing; and no place is held either."""
    quotas = Quotas({MX: Limit(rate=0.1, connections=1)})
    held = lease(quotas, Guest())
    held.admit(MX)
    held.check()
    assert held.take_slot() == 0.0
    with pytest.raises(Full) as full:
        held.check()
    assert (full.value.quota, full.value.seconds) == (None, 10.0)
    held.release()
    with pytest.raises(Full) as full:
        lease(quotas, Guest()).admit(MX)
    assert full.value.seconds == 10.0


def test_a_domain_that_is_its_own_exchanger_has_one_quota() -> None:
    """A message takes one slot of it, not two."""
    quotas = Quotas({"example.net": Limit(rate=1.0)})
    held = lease(quotas, Guest(), own="example.net")
    held.admit("example.net")
    assert len(held.paces) == 1


def test_without_limits_nothing_is_counted() -> None:
    """Most mail goes so."""
    quotas = Quotas({})
    held = lease(quotas, Guest(), own="example.net")
    held.admit(MX)
    assert (held.paces, held.take_slot(), held.is_wanted, held.messages(100)) == ((), 0.0, False, 100)
