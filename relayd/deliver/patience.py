"""Patience: several questions at once, and not waiting for the last answer when the others are enough.

Refuses to know what is asked. What one raises is raised. Whoever is no longer waited for is cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def gather_patiently(
    asking: Iterable[Coroutine[Any, Any, T]], is_enough: Callable[[Sequence[T | None]], bool], seconds: float
) -> list[T | None]:
    """The answers in the order of the questions; None for one that came later than so many seconds.

    They are counted from when `is_enough` says so of the answers that are there; until then all are waited for.
    """
    tasks = [asyncio.ensure_future(each) for each in asking]
    rest: set[asyncio.Task[T]] = set(tasks)
    deadline: float | None = None
    loop = asyncio.get_running_loop()
    try:
        while rest:
            left = None if deadline is None else max(0.0, deadline - loop.time())
            ended, rest = await asyncio.wait(rest, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                break
            if deadline is None and is_enough([each.result() if each.done() else None for each in tasks]):
                deadline = loop.time() + seconds
        return [each.result() if each.done() else None for each in tasks]
    finally:
        for each in tasks:
            each.cancel()
