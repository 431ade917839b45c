"""Looking: a child that sees for its parent, and keeps nobody waiting."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from relayd.observe.look import Look
from relayd.observe.looking import Looking

SECONDS = 20.0


def looking(work: Callable[[Looking], Awaitable[None]], look: Callable[[], Look]) -> None:
    """Do the work beside a looking that has begun."""

    async def main() -> None:
        made = Looking(asyncio.get_running_loop(), look)
        made.tend()
        try:
            async with asyncio.timeout(SECONDS):
                await work(made)
        finally:
            made.end()

    asyncio.run(main())


async def until(is_so: Callable[[], bool]) -> None:
    """Turn after turn of the loop."""
    while not is_so():
        await asyncio.sleep(0.005)


def test_what_the_child_saw_is_there() -> None:
    """In another process, which is gone afterwards."""

    async def work(made: Looking) -> None:
        await until(lambda: made.last is not None)
        assert made.last is not None
        assert made.last.states == {"new": 3}
        assert made.last.due != os.getpid()
        assert made.age() < SECONDS
        while made._pid:
            made.tend()
            await asyncio.sleep(0.005)

    looking(work, lambda: Look(states={"new": 3}, due=os.getpid()))


def test_what_is_seen_is_not_looked_for_again_at_once(tmp_path: Path) -> None:
    """However often one asks."""
    calls = tmp_path / "calls"

    def look() -> Look:
        with calls.open("a") as file:
            file.write("x")
        return Look()

    async def work(made: Looking) -> None:
        await until(lambda: made.last is not None)
        for _ in range(100):
            made.tend()
            await asyncio.sleep(0)
        assert calls.read_text() == "x"

    looking(work, look)


def test_a_look_that_fails_says_so() -> None:
    """In one line, and the parent goes on."""

    def look() -> Look:
        raise ValueError("an odd file")

    async def work(made: Looking) -> None:
        await until(lambda: made.last is not None)
        assert made.last is not None
        assert made.last.trouble == "the spool cannot be looked at: ValueError: an odd file"

    looking(work, look)


def test_a_child_that_was_killed_leaves_what_was_seen_before() -> None:
    """Nothing, at first; its age says so."""

    def look() -> Look:
        os.kill(os.getpid(), signal.SIGKILL)
        return Look()

    async def work(made: Looking) -> None:
        await until(lambda: made._pipe < 0)
        assert made.last is None

    looking(work, look)


def test_no_room_for_a_pipe_is_no_end() -> None:
    """The next look may find some."""

    async def work(made: Looking) -> None:
        await until(lambda: made.last is not None)
        while made._pid:
            made.tend()
            await asyncio.sleep(0.005)
        made._due = 0.0
        most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
        try:
            made.tend()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)
        assert made._pid == 0
        made._due = 0.0
        made.tend()
        assert made._pid

    looking(work, Look)


def test_a_look_that_hangs_holds_up_nothing_and_ends_with_its_parent(tmp_path: Path) -> None:
    """There is one at a time, and `end` leaves none."""
    calls = tmp_path / "calls"

    def look() -> Look:
        with calls.open("a") as file:
            file.write(f"{os.getpid()}\n")
        signal.pause()
        return Look()

    pids: list[int] = []

    async def work(made: Looking) -> None:
        await until(lambda: calls.exists() and calls.read_text().endswith("\n"))
        for _ in range(10):
            made.tend()
        pids.extend(map(int, calls.read_text().split()))
        assert len(pids) == 1

    looking(work, look)
    while True:
        try:
            if os.waitpid(pids[0], 0)[0]:
                break
        except ChildProcessError:
            break
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_the_child_has_nothing_of_its_parents_open() -> None:
    """A listener or a channel that it kept would keep others waiting."""

    async def work(made: Looking) -> None:
        await until(lambda: made.last is not None)
        assert made.last is not None
        # Its pipe, and the folder that is read to see this.
        assert made.last.due <= 2

    looking(work, lambda: Look(due=len([name for name in os.listdir("/proc/self/fd") if int(name) > 2])))
