"""A clerk: one thread that does the spool's waiting, so that an event loop need not.

While it works on a group, the next group forms by itself: that is what makes one fsync of a folder serve many
messages. A clerk does what it is handed in order; it decides nothing. When the work raises, the future of
each item of the group gets the exception. It tells since when it is at work on a group, so that somebody can see
that the disk hangs.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Done = Callable[[R | Exception], None]


class Clerk(Generic[T, R]):
    """Hands groups of items to `work`, which gives one result for each item."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        work: Callable[[Sequence[T]], Sequence[R]],
        busy_since: Callable[[int], None] = lambda milliseconds: None,
    ) -> None:
        """`busy_since` is called on the thread, with milliseconds of the monotonic clock, 0 when it is idle."""
        self._loop = loop
        self._work = work
        self._busy_since = busy_since
        # None is the end. Written in C: a lock and a list cost ten times as much.
        self._items: SimpleQueue[Sequence[tuple[T, Done[R]]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T, done: Done[R]) -> None:
        """Hand in one item; `done` is called on the event loop with its result or what went wrong."""
        self._items.put(((item, done),))

    def submit_all(self, items: Sequence[tuple[T, Done[R]]]) -> None:
        """The same for several at once."""
        self._items.put(items)

    def close(self) -> None:
        """End after what was handed in; waits for it."""
        self._items.put(None)
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            results: Sequence[R | Exception]
            self._busy_since(int(time.monotonic() * 1000))
            try:
                results = self._work([item for item, _ in group])
            except Exception as error:
                results = [error] * len(group)
            self._busy_since(0)
            if len(results) != len(group):
                results = [RuntimeError(f"{len(results)} results for {len(group)} items")] * len(group)
            try:
                self._loop.call_soon_threadsafe(self._report, group, results)
            except RuntimeError:
                # The loop has ended before a disk that hangs: nobody waits for it any more.
                return

    def _next_group(self) -> list[tuple[T, Done[R]]]:
        """All that was handed in meanwhile, once there is something; nothing at the end."""
        group: list[tuple[T, Done[R]]] = []
        while (items := self._items.get()) is not None:
            group += items
            # Nobody else takes any, so the next one would not have to wait.
            if group and self._items.empty():
                return group
        self._items.put(None)
        return group

    def _report(self, group: Sequence[tuple[T, Done[R]]], results: Sequence[R | Exception]) -> None:
        for (_, done), result in zip(group, results, strict=True):
            try:
                done(result)
            except Exception as error:
                # The others wait for theirs.
                self._loop.call_exception_handler({"message": f"{self._thread.name}: report", "exception": error})
