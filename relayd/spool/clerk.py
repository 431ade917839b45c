"""A clerk: one thread that does the spool's waiting, so that an event loop need not.

While it works on a group, the next group forms by itself: that is what makes one fsync of a folder serve many
messages. A group goes over when the loop has no more for it, since each hand-over wakes the thread, which then
wants the interpreter that the loop still needs. A clerk does what it is handed in order; it decides nothing.
When the work raises, each item of the group gets the exception. It tells since when it is at work on a group, so
that somebody can see that the disk hangs.
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

# For so many turns of the loop a group may grow before it is handed over.
_MOST_TURNS = 10


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
        # The loop's: what is not handed over, how much that was in the last turn, and for how many it has grown.
        self._forming: list[tuple[T, Done[R]]] = []
        self._seen = self._turns = 0
        # The thread's: what it is at work on.
        self._group: list[tuple[T, Done[R]]] = []
        # None is the end. Written in C: a lock and a list cost ten times as much.
        self._groups: SimpleQueue[list[tuple[T, Done[R]]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T, done: Done[R]) -> None:
        """Hand in one item, on the loop; `done` is called there with its result or what went wrong."""
        if not self._forming:
            self._seen = self._turns = 0
            self._loop.call_soon(self._look)
        self._forming.append((item, done))

    def close(self) -> None:
        """End after what was handed in; waits for it."""
        self._hand_over()
        self._groups.put(None)
        self._thread.join()

    def _look(self) -> None:
        """Hand over what was handed in, unless this turn has brought more."""
        if self._seen < len(self._forming) and self._turns < _MOST_TURNS:
            self._seen = len(self._forming)
            self._turns += 1
            self._loop.call_soon(self._look)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        group, self._forming = self._forming, []
        if group:
            self._groups.put(group)

    def more(self) -> list[T]:
        """For the work, on its thread: what was handed in meanwhile, and belongs to the group from here on."""
        found: list[tuple[T, Done[R]]] = []
        # Nobody else takes any, so this does not wait.
        while not self._groups.empty():
            group = self._groups.get()
            if group is None:
                self._groups.put(None)
                break
            found += group
        self._group += found
        return [item for item, _ in found]

    def _run(self) -> None:
        while (group := self._groups.get()) is not None:
            self._group = group
            self._busy_since(int(time.monotonic() * 1000))
            results = self._results()
            self._busy_since(0)
            try:
                self._loop.call_soon_threadsafe(self._report, self._group, results)
            except RuntimeError:
                # The loop has ended before a disk that hangs: nobody waits for it any more.
                return

    def _results(self) -> Sequence[R | Exception]:
        """What the work gives for each of the group, or what it raised."""
        self.more()
        try:
            results = self._work([item for item, _ in self._group])
        except Exception as error:
            return [error] * len(self._group)
        if len(results) != len(self._group):
            return [RuntimeError(f"{len(results)} results for {len(self._group)} items")] * len(self._group)
        return results

    def _report(self, group: Sequence[tuple[T, Done[R]]], results: Sequence[R | Exception]) -> None:
        for (_, done), result in zip(group, results, strict=True):
            try:
                done(result)
            except Exception as error:
                # The others wait for theirs.
                self._loop.call_exception_handler({"message": f"{self._thread.name}: report", "exception": error})
