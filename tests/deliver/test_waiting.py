"""What waits: parcels in order, and idle couriers that are woken for them."""

import asyncio
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from relayd.deliver.parcel import Parcel
from relayd.deliver.waiting import Waiting
from tests.deliver.making import job, parcel
from tests.deliver.running import LONGEST_SECONDS, run, turn
from tests.deliver.town import letters


def test_parcels_leave_in_the_order_they_came() -> None:
    """And one that was not tried is the next again."""
    waiting = Waiting()
    first, second, third = letters(3)
    for each in (first, second, third):
        waiting.add(each)
    assert waiting.take() == first
    assert waiting.take() == second
    waiting.put_back(second)
    assert waiting.first == second
    assert waiting.take_beyond(1) == [third]
    assert waiting.take() == second
    assert waiting.take() is None
    assert waiting.taken == 2


def test_a_parcel_wakes_the_courier_that_came_last() -> None:
    """Those that are too many find out, and leave; each parcel wakes one."""

    async def main() -> None:
        waiting = Waiting()
        woken: list[int] = []

        async def idle(number: int) -> None:
            await waiting.come(LONGEST_SECONDS)
            woken.append(number)

        tasks = [asyncio.ensure_future(idle(number)) for number in range(3)]
        await turn()
        for each in letters(2):
            assert waiting.add(each)
        await turn()
        assert woken == [2, 1]
        waiting.close()
        await asyncio.gather(*tasks)

    run(main)


def test_without_an_idle_courier_nobody_is_woken() -> None:
    """Also when the one that was has waited long enough."""

    async def main() -> None:
        waiting = Waiting()
        await waiting.come(0.0)
        assert not waiting.add(letters(1)[0])
        await waiting.come(LONGEST_SECONDS)

    run(main)


def test_a_courier_that_is_ended_is_not_woken_any_more() -> None:
    """Its place is not kept."""

    async def main() -> None:
        waiting = Waiting()
        idle = asyncio.ensure_future(waiting.come(LONGEST_SECONDS))
        await turn()
        idle.cancel()
        await turn()
        assert not waiting.add(letters(1)[0])

    run(main)


def test_at_the_end_nothing_waits_and_nobody_is_idle() -> None:
    """What comes later is not kept either."""

    async def main() -> None:
        waiting = Waiting()
        first, second = letters(2)
        idle = asyncio.ensure_future(waiting.come(LONGEST_SECONDS))
        await turn()
        waiting.close()
        await idle
        assert not waiting.add(first)
        waiting.put_back(second)
        await waiting.come(LONGEST_SECONDS)
        assert len(waiting) == 0

    run(main)


# Turns.


def of(reverse_path: str | None, *numbers: int) -> list[Parcel]:
    """Parcels from one reverse-path."""
    return [parcel(job(message_id=f"{number:017}", reverse_path=reverse_path)) for number in numbers]


def order(found: Iterable[Parcel]) -> list[int]:
    """The numbers of their messages."""
    return [int(each.job.id) for each in found]


def taken(waiting: Waiting) -> list[int]:
    """All that waits, as it leaves."""
    return order(iter(waiting.take, None))


def test_reverse_paths_take_turns() -> None:
    """A backlog of one does not hold up what another sends; each has its own in order."""
    waiting = Waiting()
    for each in [*of("many@a.test", 1, 2, 3, 4), *of("few@a.test", 10, 11), *of(None, 20)]:
        waiting.add(each)
    assert taken(waiting) == [1, 10, 20, 2, 11, 3, 4]


def test_what_is_put_back_is_the_next_and_the_turns_go_on() -> None:
    """Its own line may be empty by then, or have others."""
    waiting = Waiting()
    for each in [*of("a@a.test", 1, 2), *of("b@a.test", 10)]:
        waiting.add(each)
    first = waiting.take()
    assert first is not None
    waiting.put_back(first)
    assert order([waiting.first] if waiting.first else []) == [1]
    assert taken(waiting) == [1, 10, 2]
    (alone,) = of("c@a.test", 30)
    waiting.add(alone)
    assert waiting.take() == alone
    waiting.put_back(alone)
    assert taken(waiting) == [30]


def test_what_is_kept_is_what_would_leave_first() -> None:
    """Everybody keeps something, and the order stays."""
    waiting = Waiting()
    for each in [*of("many@a.test", *range(10)), *of("few@a.test", 100, 101)]:
        waiting.add(each)
    assert order(waiting.take_beyond(4)) == list(range(2, 10))
    assert len(waiting) == 4
    assert taken(waiting) == [0, 100, 1, 101]


def test_where_there_is_no_room_the_longest_line_gives_its_last() -> None:
    """Who sends little has a place beside who sends much."""
    waiting = Waiting()
    for each in of("many@a.test", 1, 2, 3):
        waiting.add(each)
    few = of("few@a.test", 10)[0]
    assert order([waiting.displace(few)]) == [3]
    more = of("many@a.test", 4)[0]
    assert waiting.displace(more) == more
    assert len(waiting) == 3
    assert taken(waiting) == [1, 10, 2]


def test_between_lines_of_one_length_the_newcomer_has_no_place() -> None:
    """Nobody's mail goes out and in again for nothing."""
    waiting = Waiting()
    for each in [*of("a@a.test", 1), *of("b@a.test", 2)]:
        waiting.add(each)
    new = of("c@a.test", 3)[0]
    assert waiting.displace(new) == new
    assert taken(waiting) == [1, 2]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 3)),
            st.tuples(st.sampled_from(["take", "back", "beyond", "displace"]), st.integers(0, 5)),
        ),
        max_size=60,
    )
)
def test_nothing_is_lost_and_nothing_leaves_twice(steps: list[tuple[str, int]]) -> None:
    """In any order of what may happen."""
    waiting, inside, out, last = Waiting(), set[int](), set[int](), None
    for number, (what, which) in enumerate(steps):
        new = of(f"{which}@a.test", number)[0]
        if what == "add":
            waiting.add(new)
            inside.add(number)
        elif what == "displace":
            inside.add(number)
            out.update(order([waiting.displace(new)]))
        elif what == "take":
            last = waiting.take()
            out.update(order([last] if last else []))
        elif what == "beyond":
            out.update(order(waiting.take_beyond(which)))
            last = None
        elif last is not None:
            waiting.put_back(last)
            out.difference_update(order([last]))
            last = None
        assert len(waiting) == len(inside - out)
    left = taken(waiting)
    assert len(left) == len(set(left))
    assert set(left) == inside - out


def test_who_sleeps_is_woken_by_the_end_and_not_by_a_parcel() -> None:
    """It waits for a slot, which a parcel does not bring nearer."""

    async def main() -> None:
        waiting = Waiting()
        await waiting.sleep(0.0)
        sleeping = asyncio.ensure_future(waiting.sleep(10 * LONGEST_SECONDS))
        await turn()
        assert not waiting.add(letters(1)[0])
        await turn()
        assert not sleeping.done()
        waiting.close()
        await sleeping
        await waiting.sleep(10 * LONGEST_SECONDS)

    run(main)
