"""The clerk: work in groups on a thread of its own, and for each item its result, whatever happens to others."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from relayd.spool.clerk import Clerk
from relayd.spool.hint import Hints


def ask(work: Any, items: Sequence[int], done: Any = None) -> list[Any]:
    """The results of all items, in the order in which they came back."""

    async def asking() -> list[Any]:
        loop = asyncio.get_running_loop()
        results: list[Any] = []
        all_there = loop.create_future()

        def take(result: Any) -> None:
            results.append(result)
            if len(results) == len(items):
                all_there.set_result(None)
            if done is not None:
                done(result)

        clerk: Clerk[int, Any] = Clerk(loop, "clerk", work)
        for item in items:
            clerk.submit(item, take)
        await all_there
        await asyncio.to_thread(clerk.close)
        return results

    return asyncio.run(asking())


class Groups:
    """Work that gives each item back, and notes how many came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.sizes.append(len(items))
        return items


def test_each_item_has_its_result() -> None:
    """In order."""
    assert ask(lambda items: [item * 2 for item in items], range(10)) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_what_comes_while_it_works_is_the_next_group() -> None:
    """That is what makes one sync serve many."""
    groups: list[int] = []
    may_go_on = threading.Event()

    def work(items: Sequence[int]) -> Sequence[int]:
        groups.append(len(items))
        may_go_on.wait(10)
        return items

    async def asking() -> None:
        loop = asyncio.get_running_loop()
        last = loop.create_future()
        clerk: Clerk[int, int] = Clerk(loop, "clerk", work)
        clerk.submit(0, lambda result: None)
        while not groups:
            await asyncio.sleep(0)
        for number in range(1, 6):
            clerk.submit(number, lambda result, n=number: last.set_result(None) if n == 5 else None)  # type: ignore[misc]
        may_go_on.set()
        await last
        await asyncio.to_thread(clerk.close)

    asyncio.run(asking())
    assert groups == [1, 5]


def test_what_following_turns_bring_is_one_group() -> None:
    """It is handed over in the first turn that brings nothing."""
    groups = Groups()

    async def asking() -> None:
        loop = asyncio.get_running_loop()
        last = loop.create_future()
        clerk: Clerk[int, int] = Clerk(loop, "clerk", groups)
        for number in range(5):
            clerk.submit(number, lambda result: last.set_result(None) if result == 4 else None)
            await asyncio.sleep(0)
        await last
        await asyncio.to_thread(clerk.close)

    asyncio.run(asking())
    assert groups.sizes == [5]


def test_a_group_goes_although_more_comes_with_each_turn() -> None:
    """Nobody waits for ever."""
    groups = Groups()

    async def asking() -> None:
        clerk: Clerk[int, int] = Clerk(asyncio.get_running_loop(), "clerk", groups)
        while not groups.sizes:
            clerk.submit(0, lambda result: None)
            await asyncio.sleep(0)
        await asyncio.to_thread(clerk.close)

    asyncio.run(asking())
    assert groups.sizes[0] > 1


def test_work_may_take_in_what_comes_meanwhile() -> None:
    """It is of the group from there on, with its results, whatever the work comes to."""
    groups: list[list[int]] = []
    may_go_on = threading.Event()

    async def asking() -> list[object]:
        loop = asyncio.get_running_loop()
        all_there = loop.create_future()
        results: list[object] = []

        def work(items: Sequence[int]) -> Sequence[int]:
            may_go_on.wait(30)
            groups.append([*items, *clerk.more()])
            if len(groups) == 1:
                return groups[0]
            raise ValueError

        def take(result: object) -> None:
            results.append(result)
            if len(results) == 7:
                all_there.set_result(None)

        clerk: Clerk[int, int] = Clerk(loop, "clerk", work)
        clerk.submit(0, take)
        while clerk._forming or not clerk._groups.empty():
            await asyncio.sleep(0)
        for number in range(1, 6):
            clerk.submit(number, take)
        while clerk._forming:
            await asyncio.sleep(0)
        may_go_on.set()
        while len(results) < 6:
            await asyncio.sleep(0)
        clerk.submit(6, take)
        await all_there
        await asyncio.to_thread(clerk.close)
        return results

    results = asyncio.run(asking())
    assert groups == [[0, 1, 2, 3, 4, 5], [6]]
    assert results[:6] == [0, 1, 2, 3, 4, 5]
    assert isinstance(results[6], ValueError)


def test_the_end_waits_for_what_was_handed_in_this_turn() -> None:
    """A process that ends has taken responsibility for it."""
    groups = Groups()

    async def asking() -> None:
        clerk: Clerk[int, int] = Clerk(asyncio.get_running_loop(), "clerk", groups)
        clerk.submit(1, lambda result: None)
        clerk.close()

    asyncio.run(asking())
    assert groups.sizes == [1]


def test_an_error_of_the_work_is_the_result_of_each() -> None:
    """Nobody waits for ever."""

    def work(items: Sequence[int]) -> Sequence[int]:
        raise ValueError("no")

    assert [str(each) for each in ask(work, range(3))] == ["no", "no", "no"]


def test_too_few_results_are_an_error_of_each() -> None:
    """Nobody gets another's."""
    assert {type(each) for each in ask(lambda items: [], range(3))} == {RuntimeError}


def test_who_fails_to_take_a_result_keeps_none_from_the_others() -> None:
    """They hear theirs."""

    def done(result: int) -> None:
        if result == 0:
            raise ValueError("a mistake of one session")

    assert ask(lambda items: items, range(3), done) == [0, 1, 2]


def test_hints_are_heard_in_order_and_never_wait() -> None:
    """What does not fit is dropped: the folder has it."""
    hints = Hints()
    names = [f"{number:017},S=1" for number in range(300)]
    hints.send(names)
    assert hints.receive() == names
    assert hints.receive() == []
    for _ in range(10_000):
        hints.send(names)
    assert set(hints.receive()) == set(names)


def test_it_tells_since_when_it_works_on_a_group() -> None:
    """A number before the work, which may never end, and 0 behind it, also when it has failed."""
    told: list[int] = []
    seen: list[list[int]] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        seen.append(list(told))
        raise ValueError

    async def asking() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        clerk: Clerk[int, int] = Clerk(loop, "clerk", work, told.append)
        clerk.submit(1, done.set_result)
        assert isinstance(await done, ValueError)
        await asyncio.to_thread(clerk.close)

    asyncio.run(asking())
    ((since,),) = seen
    assert since > 0
    assert told == [since, 0]
