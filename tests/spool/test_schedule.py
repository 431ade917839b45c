"""The schedule: what is due comes in order, new before old but not instead of it."""

from hypothesis import given
from hypothesis import strategies as st

from relayd.spool.schedule import NOW, Place, Schedule


def found(name: str) -> Place:
    """A message that is due now."""
    return Place(NOW, name, 1, "new")


def fresh(name: str) -> Place:
    """One that has come just now."""
    return Place(NOW, name, 1, "new", is_fresh=True)


def later(name: str, due: float) -> Place:
    """A message that is due then."""
    return Place(due, name, 1, "cur")


def popped(schedule: Schedule, now: float) -> list[str]:
    """All that is due."""
    ids = []
    while (place := schedule.pop(now)) is not None:
        ids.append(place.id)
    return ids


def test_new_messages_come_in_the_order_they_came() -> None:
    """Nothing is due before them."""
    schedule = Schedule()
    for name in "bca":
        schedule.put(found(name))
    assert schedule.next_due() == NOW
    assert popped(schedule, 1.0) == ["b", "c", "a"]
    assert schedule.next_due() is None


def test_scheduled_messages_come_when_they_are_due() -> None:
    """The earliest first, and none before."""
    schedule = Schedule()
    for name, due in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        schedule.put(later(name, due))
    assert schedule.next_due() == 10.0
    assert popped(schedule, 9.9) == []
    assert popped(schedule, 20.0) == ["b", "c"]
    assert schedule.next_due() == 30.0


def test_old_messages_have_their_turn_among_new_ones() -> None:
    """However fast the new ones come."""
    schedule = Schedule()
    for number in range(100):
        schedule.put(found(f"new {number}"))
        schedule.put(later(f"old {number}", 1.0 + number))
    first = [schedule.pop(1000.0) for _ in range(40)]
    assert sum(place is not None and place.state == "cur" for place in first) == 10


def test_mail_that_has_just_come_goes_before_what_was_found() -> None:
    """But one in four of the others goes all the same."""
    schedule = Schedule()
    for number in range(100):
        schedule.put(found(f"found {number}"))
    for number in range(30):
        schedule.put(fresh(f"fresh {number}"))
    first = [place.id for _ in range(40) if (place := schedule.pop(1.0)) is not None]
    assert [name for name in first if name.startswith("fresh")] == [f"fresh {number}" for number in range(30)]
    assert popped(schedule, 1.0) == [f"found {number}" for number in range(10, 100)]


def test_behind_a_long_line_the_latest_message_does_not_wait_for_all_of_it() -> None:
    """A mailing does not hold up what comes after it; one that was given up meanwhile is not taken."""
    schedule = Schedule()
    for number in range(5000):
        schedule.put(fresh(f"mailing {number}"))
    schedule.put(fresh("single"))
    schedule.put(fresh("gone"))
    schedule.forget("gone")
    first = [place.id for _ in range(8) if (place := schedule.pop(1.0)) is not None]
    assert "single" in first
    assert first[0] == "mailing 0"
    assert sorted(first + popped(schedule, 1.0)) == sorted(["single", *(f"mailing {n}" for n in range(5000))])


def test_mail_that_comes_without_end_starves_nobody() -> None:
    """Neither what was found nor what has waited."""
    schedule = Schedule()
    for number in range(100):
        schedule.put(fresh(f"fresh {number}"))
        schedule.put(found(f"found {number}"))
        schedule.put(later(f"old {number}", 1.0 + number))
    first = [place.id for _ in range(40) if (place := schedule.pop(1000.0)) is not None]
    kinds = [name.partition(" ")[0] for name in first]
    assert [kinds.count(kind) for kind in ("fresh", "found", "old")] == [20, 10, 10]


def test_a_message_has_one_place() -> None:
    """The last one it was given."""
    schedule = Schedule()
    schedule.put(fresh("a"))
    schedule.put(later("a", 20.0))
    assert schedule.next_due() == 20.0
    schedule.put(later("a", 10.0))
    assert (len(schedule), schedule.next_due()) == (1, 10.0)
    schedule.put(fresh("a"))
    assert popped(schedule, 100.0) == ["a"]


def test_what_is_forgotten_does_not_come() -> None:
    """And can be put there again."""
    schedule = Schedule()
    schedule.put(fresh("a"))
    schedule.put(later("b", 10.0))
    schedule.forget("a")
    schedule.forget("b")
    schedule.forget("c")
    assert (popped(schedule, 100.0), schedule.next_due(), len(schedule)) == ([], None, 0)
    schedule.put(fresh("a"))
    assert popped(schedule, 100.0) == ["a"]


def test_all_that_is_scheduled_is_looked_at_in_portions() -> None:
    """Each once in a round; new messages are not among them."""
    schedule = Schedule()
    for number in range(25_000):
        schedule.put(later(str(number), 1e9))
    schedule.put(fresh("new"))
    seen: list[str] = []
    rounds = 0
    while True:
        portion = schedule.portion()
        rounds += 1
        seen += [place.id for place in portion]
        if schedule.is_seen:
            break
    assert sorted(seen) == sorted(str(number) for number in range(25_000))
    assert 10 <= rounds <= 11
    assert len(schedule.portion()) == 2500


STEPS = st.tuples(st.sampled_from(["put", "now", "forget", "pop", "look"]), st.integers(0, 5), st.integers(1, 9))


@given(st.lists(STEPS))
def test_the_schedule_is_what_a_plain_list_would_be(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is done to it, in whatever order."""
    schedule, plain = Schedule(), dict[str, float]()
    for step, number, due in steps:
        name = str(number)
        if step == "put":
            schedule.put(later(name, float(due)))
            plain[name] = float(due)
        elif step == "now":
            schedule.put(found(name))
            plain[name] = NOW
        elif step == "forget":
            schedule.forget(name)
            plain.pop(name, None)
        elif step == "look":
            assert {place.id for place in schedule.portion()} <= set(plain)
        else:
            place = schedule.pop(float(due))
            ready = {name for name, when in plain.items() if when <= due}
            assert (place is None) == (not ready)
            if place is not None:
                assert place.id in ready
                del plain[place.id]
        assert len(schedule) == len(plain)
        assert set(schedule) == set(plain)
        assert schedule.next_due() == min(plain.values(), default=None)
