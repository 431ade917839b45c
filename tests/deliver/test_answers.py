"""Answers: one look-up at a time for a key, and its answer for as long as it holds."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from relayd.deliver.answers import Answers
from tests.deliver.running import run, turn


class Library:
    """A look-up that counts how often it is asked and answers when it is told to."""

    def __init__(self, *, holds: float = 60.0, closed: bool = False) -> None:
        self.now = 1000.0
        self.asked = 0
        self.holds = holds
        self.error: Exception | None = None
        self.open = asyncio.Event()
        if not closed:
            self.open.set()
        self.answers: Answers[str, int] = Answers(3, lambda: self.now)

    async def get(self, key: str = "a") -> int:
        """Ask for a key; the answer is how many look-ups there were."""
        return await self.answers.get(key, self._look_up)

    async def _look_up(self) -> tuple[int, float]:
        self.asked += 1
        number = self.asked
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return number, self.holds


def on_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Make a test of a coroutine."""

    def running() -> None:
        run(test)

    running.__doc__ = test.__doc__
    running.__name__ = test.__name__
    return running


@on_loop
async def test_an_answer_is_kept_as_long_as_it_holds() -> None:
    """And then asked for again."""
    library = Library(holds=60)
    assert await library.get() == 1
    library.now += 59
    assert await library.get() == 1
    library.now += 2
    assert await library.get() == 2


@on_loop
async def test_how_long_an_answer_is_good_can_be_asked() -> None:
    """Nothing where there is none, or none any more."""
    library = Library(holds=60)
    assert library.answers.holds("a") == 0
    await library.get()
    library.now += 45
    assert library.answers.holds("a") == 15
    library.now += 45
    assert library.answers.holds("a") == 0


@on_loop
async def test_an_answer_that_does_not_hold_is_shared_and_not_kept() -> None:
    """TTL 0: those who wait together share one look-up, the next one asks anew."""
    library = Library(holds=0, closed=True)
    waiting = [asyncio.ensure_future(library.get()) for _ in range(5)]
    await turn()
    library.open.set()
    assert await asyncio.gather(*waiting) == [1] * 5
    assert await library.get() == 2


@on_loop
async def test_one_look_up_serves_all_that_wait() -> None:
    """And each key has its own."""
    library = Library(closed=True)
    waiting = [asyncio.ensure_future(library.get(key)) for key in "aaabbb"]
    await turn()
    assert library.asked == 2
    library.open.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1, 2, 2, 2]


@on_loop
async def test_who_stops_waiting_leaves_the_look_up_to_the_others() -> None:
    """The first one too, for whom it was begun."""
    library = Library(closed=True)
    first, second = asyncio.ensure_future(library.get()), asyncio.ensure_future(library.get())
    await turn()
    first.cancel()
    await turn()
    library.open.set()
    assert await second == 1
    assert first.cancelled()


@on_loop
async def test_what_a_look_up_raises_goes_to_all_and_is_not_kept() -> None:
    """The next one asks anew."""
    library = Library(closed=True)
    library.error = ZeroDivisionError("a bug")
    waiting = [asyncio.ensure_future(library.get()) for _ in range(2)]
    await turn()
    library.open.set()
    for each in waiting:
        with pytest.raises(ZeroDivisionError):
            await each
    library.error = None
    assert await library.get() == 2


@on_loop
async def test_answers_are_bounded_in_number() -> None:
    """The oldest goes."""
    library = Library()
    for key in "abcd":
        await library.get(key)
    assert await library.get("b") == 2
    assert await library.get("a") == 5
