"""The spool's thread, as the event loop asks it: one piece of work after the other, each with its own result.

Refuses to know the work. What a piece of work raises is its result, and stops nothing else.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from relayd.spool.clerk import Clerk

R = TypeVar("R")


class SpoolThread:
    """One for a process, since the spool's calls are for one thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        busy_since: Callable[[int], None] = lambda milliseconds: None,
    ) -> None:
        """`busy_since` is the clerk's."""
        self._loop = loop
        self._clerk: Clerk[Callable[[], object], object] = Clerk(loop, "spool", _run_all, busy_since)

    def submit(self, work: Callable[[], object], done: Callable[[object], None]) -> None:
        """Hand in work; `done` is called on the loop with what it gave or raised."""
        self._clerk.submit(work, done)

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

        self._clerk.submit(work, done)
        return await future

    def close(self) -> None:
        """End; waits for what was handed in."""
        self._clerk.close()


def _run_all(work: Sequence[Callable[[], object]]) -> list[object]:
    results: list[object] = []
    for each in work:
        try:
            results.append(each())
        except Exception as error:
            results.append(error)
    return results
