"""A race: the addresses of one exchanger, each with a head start over the next (RFC 8305, "happy eyeballs").

Whichever is connected first has won, and is asked to become ready for MAIL; when it does not, the others go on.
There are never more than two sockets, and one connection at most comes out. Refuses to know what a connection is
for, and what to think of the addresses the next time: it says who failed and who was outrun.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass

from relayd.deliver.connection import Connection
from relayd.deliver.exchangers import Candidate
from relayd.smtp.reply import Reply

# RFC 8305 section 5 has this for a Connection Attempt Delay, in seconds.
LEAST_HEAD_START = 0.25
_MOST_SOCKETS = 2

OpenOne = Callable[[Candidate], Awaitable[Connection | Reply]]
MakeReady = Callable[[Connection], Awaitable[Connection | Reply]]


@dataclass(frozen=True, slots=True)
class Raced:
    """The connection that is ready for MAIL, if there is one, and why each address that failed did.

    `outrun` had their head start and were not connected when another was: nobody knows more of them.
    """

    connection: Connection | None
    failures: tuple[tuple[Candidate, Reply], ...] = ()
    outrun: tuple[Candidate, ...] = ()


def head_start(connect_s: float | None) -> float:
    """Seconds that an address has before the next one starts, from its smoothed time to connect, if known."""
    return max(LEAST_HEAD_START, 2 * (connect_s or 0.0))


async def race(
    candidates: Sequence[Candidate],
    open_one: OpenOne,
    after: Callable[[Candidate], float],
    make_ready: MakeReady,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Raced:
    """Race the addresses in the order given.

    `open_one` connects; `after` is an address's head start in seconds; `make_ready` hears the greeting and says
    EHLO, and gives the connection to use, which may be another one to the same address, or why there is none;
    after that `may_go_on` is asked before the others have their turn.
    """
    failures: dict[Candidate, Reply] = {}
    outrun: dict[Candidate, None] = {}
    ready: Connection | Reply | None = None
    waiting = list(candidates)
    while waiting and (ready is None or may_go_on()):
        heat = _Heat(waiting, open_one, after)
        connected = await heat.run()
        failures.update(heat.failures)
        if connected is None:
            break
        outrun.update(dict.fromkeys(heat.outrun))
        ready = await make_ready(connected)
        if isinstance(ready, Connection):
            # It may have been outrun by one that did not come to MAIL.
            outrun.pop(connected.candidate, None)
            break
        failures[connected.candidate] = ready
        waiting = [each for each in waiting if each not in failures]
    return Raced(
        ready if isinstance(ready, Connection) else None,
        tuple(failures.items()),
        tuple(each for each in outrun if each not in failures),
    )


class _Heat:
    """One run for a connected socket."""

    def __init__(
        self, candidates: Iterable[Candidate], open_one: OpenOne, after: Callable[[Candidate], float]
    ) -> None:
        self._waiting = list(candidates)
        self._open_one = open_one
        self._after = after
        self._running: dict[asyncio.Task[Connection | Reply], Candidate] = {}
        self.failures: list[tuple[Candidate, Reply]] = []
        self.outrun: list[Candidate] = []

    async def run(self) -> Connection | None:
        """The first that is connected; None when none is."""
        winner: Connection | None = None
        try:
            while winner is None and (self._running or self._waiting):
                head_start = self._start() if self._waiting and len(self._running) < _MOST_SOCKETS else None
                done, _ = await asyncio.wait(
                    self._running, timeout=head_start, return_when=asyncio.FIRST_COMPLETED
                )
                winner = self._hear(done)
        finally:
            try:
                await self._stop()
            except asyncio.CancelledError:
                # Nobody is there to have it.
                if winner is not None:
                    winner.leave()
                raise
        return winner

    def _start(self) -> float | None:
        """Start the next address; how long it runs alone, None for as long as it takes."""
        candidate = self._waiting.pop(0)
        self._running[asyncio.ensure_future(self._open_one(candidate))] = candidate
        return self._after(candidate) if self._waiting and len(self._running) < _MOST_SOCKETS else None

    def _hear(self, done: Container[asyncio.Task[Connection | Reply]]) -> Connection | None:
        """Who is connected among those that are done; of two the one that was given first."""
        earlier: list[Candidate] = []
        for task, candidate in list(self._running.items()):
            if task not in done:
                earlier.append(candidate)
                continue
            opened = task.result()
            del self._running[task]
            if isinstance(opened, Connection):
                self.outrun = earlier
                return opened
            self.failures.append((candidate, opened))
        return None

    async def _stop(self) -> None:
        """Whoever is connected by now says QUIT, also when nobody waits here any more. No other is waited for."""
        for task in self._running:
            task.cancel()
            if task.done():
                _part(task)
            else:
                task.add_done_callback(_part)
        if self._running:
            await asyncio.wait(self._running)


def _part(task: "asyncio.Task[Connection | Reply]") -> None:
    """What came of an address that lost; an error of its own is nobody's any more."""
    if not task.cancelled() and task.exception() is None and isinstance(opened := task.result(), Connection):
        opened.leave()
