"""Answers: what look-ups gave, one look-up at a time for a key, kept as long as the answer says.

Refuses to know what is looked up. What the look-up raises goes to all that wait for it and is not kept.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Answers(Generic[K, V]):
    """Bounded by `most`; `clock` is monotonic, in seconds."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._kept: dict[K, tuple[V, float]] = {}
        self._in_flight: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, look_up: Callable[[], Coroutine[Any, Any, tuple[V, float]]]) -> V:
        """The answer for a key; `look_up` gives it with the seconds that it holds.

        Whoever stops waiting leaves the look-up to the others.
        """
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept[1]:
            return kept[0]
        running = self._in_flight.get(key)
        if running is None:
            running = asyncio.get_running_loop().create_task(self._find(key, look_up))
            self._in_flight[key] = running
        return await asyncio.shield(running)

    def holds(self, key: K) -> float:
        """Seconds for which the answer for a key is good yet; 0 where there is none."""
        kept = self._kept.get(key)
        return 0.0 if kept is None else max(0.0, kept[1] - self._clock())

    async def _find(self, key: K, look_up: Callable[[], Coroutine[Any, Any, tuple[V, float]]]) -> V:
        try:
            answer, holds = await look_up()
        finally:
            del self._in_flight[key]
        # Out and in again: the first one is then the oldest.
        self._kept.pop(key, None)
        if holds > 0:
            self._kept[key] = (answer, self._clock() + holds)
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return answer
