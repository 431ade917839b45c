"""Turns: a bound on look-ups, and the late ones give way to those that are answered."""

import asyncio

import pytest

from relayd.deliver.turns import Turns
from tests.deliver.running import run, turn

AT_ONCE_LATE, NEVER_LATE = 0.0, 60.0


class Counter:
    """Look-ups that last until `over` is set, and how many are under way."""

    def __init__(self) -> None:
        self.running = 0
        self.over = asyncio.Event()

    async def look_up(self) -> str:
        """One of them."""
        self.running += 1
        try:
            await self.over.wait()
            return "answer"
        finally:
            self.running -= 1


async def at_once() -> str:
    """One that is answered in the same turn of the loop."""
    return "answer"


def test_so_many_are_under_way_at_once() -> None:
    """The others wait for a place, and have their answers too."""

    async def main() -> None:
        turns, counter = Turns(6, NEVER_LATE), Counter()
        waiting = [asyncio.ensure_future(turns.take(counter.look_up)) for _ in range(10)]
        await turn()
        assert counter.running == 3
        counter.over.set()
        assert await asyncio.gather(*waiting) == ["answer"] * 10

    run(main)


def test_who_is_late_leaves_the_place_to_the_next() -> None:
    """And has its answer all the same."""

    async def main() -> None:
        turns, counter = Turns(2, AT_ONCE_LATE), Counter()
        late = asyncio.ensure_future(turns.take(counter.look_up))
        await turn()
        assert await turns.take(at_once) == "answer"
        assert not late.done()
        counter.over.set()
        assert await late == "answer"

    run(main)


def test_of_too_many_late_ones_the_oldest_is_given_up() -> None:
    """So the number under way is bounded, however many are never answered."""

    async def main() -> None:
        turns, counter = Turns(4, AT_ONCE_LATE), Counter()
        waiting = [asyncio.ensure_future(turns.take(counter.look_up)) for _ in range(10)]
        while sum(each.done() for each in waiting) < 8:
            await asyncio.sleep(0)
        assert [each.done() for each in waiting] == [True] * 8 + [False] * 2
        assert {each.result() for each in waiting[:8]} == {None}
        assert counter.running == 2
        counter.over.set()
        assert await asyncio.gather(*waiting[8:]) == ["answer"] * 2

    run(main)


@pytest.mark.parametrize("seconds", [AT_ONCE_LATE, NEVER_LATE])
def test_who_stops_waiting_ends_the_look_up(seconds: float) -> None:
    """In its turn and among the late ones; the place is free again."""

    async def main() -> None:
        turns, counter = Turns(2, seconds), Counter()
        waiting = asyncio.ensure_future(turns.take(counter.look_up))
        await turn()
        assert counter.running == 1
        waiting.cancel()
        await turn()
        assert waiting.cancelled()
        assert counter.running == 0
        assert await turns.take(at_once) == "answer"

    run(main)


def test_what_a_look_up_raises_is_raised() -> None:
    """A bug is not silence."""

    async def broken() -> str:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await Turns(2, NEVER_LATE).take(broken)

    run(main)
