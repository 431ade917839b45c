"""What waits: parcels in order, and idle couriers that are woken for them."""

import asyncio

from relayd.deliver.waiting import Waiting
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
