"""Work that gives way: what it says, how it ends, and what an interrupt does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from relayd.cli.gentle import gently, paced

SCRIPT = """
import os, sys
from relayd.cli.gentle import gently
def work():
    print("in another session:", os.getsid(0) != int(sys.argv[1]), flush=True)
    sys.stdin.readline()
    return 7
try:
    sys.exit(gently(work))
except KeyboardInterrupt:
    sys.exit(130)
"""


def started() -> "subprocess.Popen[bytes]":
    """A process that works gently, until a line comes."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(os.getsid(0))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in another session: True\n"
    return process


def test_its_output_and_its_exit_status_are_the_callers() -> None:
    """As if it had been done here, but in a session of its own."""
    with started() as process:
        process.communicate(b"\n", 10)
        assert process.returncode == 7


def test_an_interrupt_ends_both() -> None:
    """Ctrl-C reaches the caller only; nobody goes on behind its back."""
    with started() as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout is not None
        # The end of file: the child, which had the pipe too, is gone.
        assert process.stdout.read() == b""
        assert process.stdin is not None
        process.stdin.close()


def test_work_that_raises_has_failed() -> None:
    """The child ends; the caller goes on."""

    def work() -> int:
        raise RuntimeError

    assert gently(work) == 1


class Clocks:
    """A millisecond of work for each item, in so many seconds of time."""

    def __init__(self, wall_seconds_an_item: float) -> None:
        self._wall_seconds_an_item = wall_seconds_an_item
        self._done = 0
        self.rested: list[float] = []

    def items(self) -> Iterator[int]:
        """A thousand of them."""
        for number in range(1000):
            self._done += 1
            yield number

    def wall(self) -> float:
        """Time, with the rests."""
        return self._done * self._wall_seconds_an_item + sum(self.rested)

    def cpu(self) -> float:
        """Work."""
        return self._done * 0.001


def rests(wall_seconds_an_item: float) -> list[float]:
    """How long it rests."""
    clocks = Clocks(wall_seconds_an_item)
    list(paced(clocks.items(), wall=clocks.wall, cpu=clocks.cpu, sleep=clocks.rested.append))
    return clocks.rested


def test_on_a_machine_that_is_free_nobody_rests() -> None:
    """Work takes the time that it takes."""
    assert rests(0.001) == []


def test_on_a_busy_machine_it_rests_six_times_as_long_as_it_was_made_to_wait() -> None:
    """Bounded each time, so that a slow disk does not count for much."""
    assert [round(each, 6) for each in rests(0.0012)] == [0.12] * 10
    assert rests(1.0) == [0.2] * 10
