"""What holds real processes up, as the kernel tells it."""

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from relayd.master.waits import why_it_waits
from relayd.master.watchdog import Pulse

LONGEST_SECONDS = 10.0


@contextlib.contextmanager
def process(work: Callable[[], object]) -> Iterator[int]:
    """One that does this, for ever, and what it may have begun itself."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        for each in (*Path(f"/proc/{pid}/task/{pid}/children").read_text().split(), str(pid)):
            os.kill(int(each), signal.SIGKILL)
        os.waitpid(pid, 0)


def comes_to(pid: int, state: str) -> None:
    """Wait until the kernel says so of its main thread."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def spin() -> None:
    """Never wait."""
    while True:
        pass


def wait_like_for_a_disk() -> None:
    """The parent of a vfork is in the state of one that waits for the disk, until the child ends."""
    if ctypes.CDLL(None).vfork() == 0:
        signal.pause()
        os._exit(0)


def test_one_that_sleeps_waits_for_the_disk_only_if_it_says_so() -> None:
    """Some file systems let it sleep like anything else."""
    with process(signal.pause) as pid:
        comes_to(pid, "S")
        assert why_it_waits(Pulse(pid, 1, 0)) == "other"
        assert why_it_waits(Pulse(pid, 1, 500)) == "disk"
        # This its loop has said, which hangs and cannot say that the call is over.
        assert why_it_waits(Pulse(pid, 1, 0, 500)) == "other"


def test_one_that_computes_is_not_held_up() -> None:
    """Whatever its other thread waits for."""
    with process(spin) as pid:
        comes_to(pid, "R")
        assert why_it_waits(Pulse(pid, 1, 500)) == "other"


def test_one_in_an_uninterruptible_sleep_waits_for_the_disk() -> None:
    """A kill would not reach it."""
    with process(wait_like_for_a_disk) as pid:
        comes_to(pid, "D")
        assert why_it_waits(Pulse(pid, 1, 0)) == "disk"


def test_one_that_is_stopped_is_known_as_such() -> None:
    """Even while its thread is in a call to the disk."""
    with process(signal.pause) as pid:
        comes_to(pid, "S")
        os.kill(pid, signal.SIGSTOP)
        comes_to(pid, "T")
        assert why_it_waits(Pulse(pid, 1, 500)) == "stopped"


def test_one_that_is_gone_is_no_error() -> None:
    """It may end at any moment; no process has this pid."""
    assert why_it_waits(Pulse(1 << 30, 1, 500)) == "other"
