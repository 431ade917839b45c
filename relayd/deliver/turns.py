"""Turns: so many look-ups at once, of which those that nobody answers hold up only each other.

Refuses to know what is looked up. What a look-up raises is raised. One that is late leaves its place to the next
and goes on among the late ones, of which there are as many; when they are too many, the one that has waited
longest is given up.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """`at_once` bounds both kinds together; after so many `seconds` a look-up is late."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._places = asyncio.Semaphore(max(1, at_once // 2))
        self._most_late = max(1, at_once // 2)
        self._seconds = seconds
        # In the order in which they became late.
        self._late: dict[asyncio.Task[Any], None] = {}

    async def take(self, look_up: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """What the look-up gives; None when it was given up."""
        async with self._places:
            task = asyncio.get_running_loop().create_task(look_up())
            await _wait(task, self._seconds)
        if not task.done():
            if len(self._late) >= self._most_late:
                longest = next(iter(self._late))
                del self._late[longest]
                longest.cancel()
            self._late[task] = None
            try:
                await _wait(task, None)
            finally:
                self._late.pop(task, None)
        return None if task.cancelled() else task.result()


async def _wait(task: asyncio.Task[Any], seconds: float | None) -> None:
    """Until it has ended or is late; whoever stops waiting ends it."""
    try:
        await asyncio.wait({task}, timeout=seconds)
    except BaseException:
        task.cancel()
        raise
