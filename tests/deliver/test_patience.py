"""Patience: what is enough does not wait for what never comes, and what is not enough does."""

import asyncio
from collections.abc import Sequence

import pytest

from relayd.deliver.patience import gather_patiently
from tests.deliver.running import run, turn

NOW = 0.0


async def say(word: str, after: asyncio.Event | None = None) -> str:
    """An answer, at once or after an event."""
    if after is not None:
        await after.wait()
    return word


def has_yes(answers: Sequence[str | None]) -> bool:
    """What is enough here."""
    return "yes" in answers


def test_answers_come_in_the_order_of_the_questions() -> None:
    """All of them, when all come."""

    async def main() -> None:
        later = asyncio.Event()
        asyncio.get_running_loop().call_soon(later.set)
        found = await gather_patiently([say("a", later), say("b"), say("c")], has_yes, NOW)
        assert found == ["a", "b", "c"]

    run(main)


def test_nobody_waits_for_the_last_when_the_others_are_enough() -> None:
    """It is cancelled."""

    async def main() -> None:
        never = asyncio.Event()
        was_cancelled = []

        async def waiting() -> str:
            try:
                return await say("late", never)
            except asyncio.CancelledError:
                was_cancelled.append(True)
                raise

        assert await gather_patiently([waiting(), say("yes")], has_yes, NOW) == [None, "yes"]
        await turn()
        assert was_cancelled

    run(main)


def test_what_is_not_enough_waits_for_the_last() -> None:
    """However long it takes."""

    async def main() -> None:
        later = asyncio.Event()
        asking = asyncio.ensure_future(gather_patiently([say("yes", later), say("no")], has_yes, NOW))
        await turn()
        assert not asking.done()
        later.set()
        assert await asking == ["yes", "no"]

    run(main)


def test_no_question_has_no_answer() -> None:
    """At once."""
    assert run(lambda: gather_patiently([], has_yes, NOW)) == []


def test_what_one_raises_is_raised_and_the_others_end() -> None:
    """A bug is not hidden behind an answer."""

    async def main() -> None:
        async def broken() -> str:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await gather_patiently([broken(), say("late", asyncio.Event())], has_yes, NOW)

    run(main)
