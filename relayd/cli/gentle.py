"""Gentle work: in a process that gives way to mail, since a listing of a large queue would take a core for itself.

Linux weighs nice values and scheduling classes within a session first (its autogroups): only a session of its own
that is nice as a whole gives way to the relay's. The caller keeps the terminal, and an interrupt ends both.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_NICEST = "19"
_FAILED = 1
# After so many items it is seen how long they took beside the work on them.
_STEP = 100
_NOTHING_SECONDS = 0.001
_REST = 6.0
_LONGEST_REST_SECONDS = 0.2

T = TypeVar("T")


def gently(work: Callable[[], int]) -> int:
    """Do the work in a child of its own session; give its exit status."""
    sys.stdout.flush()
    # An interrupt right behind the fork waits until it would end both.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child == 0:
        status = _FAILED
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            _give_way()
            status = work()
            sys.stdout.flush()
        finally:
            os._exit(status)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return os.waitstatus_to_exitcode(status)


def paced(
    items: Iterable[T],
    *,
    wall: Callable[[], float] = time.monotonic,
    cpu: Callable[[], float] = time.process_time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Hand items on; where the machine is busy, and made us wait, rest for six times as long.

    The clocks are in seconds.
    """
    began, worked = wall(), cpu()
    for number, item in enumerate(items, start=1):
        yield item
        if number % _STEP == 0:
            waited = (wall() - began) - (cpu() - worked)
            if waited > _NOTHING_SECONDS:
                sleep(min(_REST * waited, _LONGEST_REST_SECONDS))
            began, worked = wall(), cpu()


def _give_way() -> None:
    os.setsid()
    # Neither is there on every kernel, and each helps alone.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(_NICEST)
