"""The spool's thread, as the event loop asks it: one piece of work after the other, each with its own result.

What is there at once and of one kind is done together. Refuses to know the work. What a piece of it raises is its
result, and stops nothing else.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from relayd.spool.clerk import Clerk

T = TypeVar("T")
R = TypeVar("R")

# Work for many items, which gives a result for each; and one of them.
_Piece = tuple[Callable[[Sequence[Any]], Sequence[object]], Any]


class SpoolThread:
    """One for a process, since the spool's calls are for one thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        busy_since: Callable[[int], None] = lambda milliseconds: None,
    ) -> None:
        """`busy_since` is the clerk's."""
        self._loop = loop
        self._clerk: Clerk[_Piece, object] = Clerk(loop, "spool", _do, busy_since)

    def together(
        self, work: Callable[[Sequence[T]], Sequence[object]], item: T, done: Callable[[object], None]
    ) -> None:
        """Hand in an item of work that is done for many; `done` is called on the loop with its result."""
        self._clerk.submit((work, item), done)

    def submit(self, work: Callable[[], object], done: Callable[[object], None]) -> None:
        """Hand in work; `done` is called on the loop with what it gave or raised."""
        self.together(_one_by_one, work, done)

    async def ask(self, work: Callable[[], R]) -> R:
        """Hand in work and wait for what it gives; raise what it raises."""
        future: asyncio.Future[R] = self._loop.create_future()

        def done(result: object) -> None:
            if future.cancelled():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(cast(R, result))

        self.submit(work, done)
        return await future

    def close(self) -> None:
        """End; waits for what was handed in."""
        self._clerk.close()


def _do(pieces: Sequence[_Piece]) -> list[object]:
    """The pieces of one kind together, where the first of them stands."""
    results: list[object] = [None] * len(pieces)
    kinds: dict[Callable[[Sequence[Any]], Sequence[object]], list[int]] = {}
    for place, (work, _) in enumerate(pieces):
        kinds.setdefault(work, []).append(place)
    for work, places in kinds.items():
        items = [pieces[place][1] for place in places]
        found: Sequence[object]
        try:
            found = work(items)
        except Exception as error:
            found = [error] * len(items)
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


def _one_by_one(work: Sequence[Callable[[], object]]) -> list[object]:
    results: list[object] = []
    for each in work:
        try:
            results.append(each())
        except Exception as error:
            results.append(error)
    return results
