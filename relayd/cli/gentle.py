"""Gentle work: in a process that gives way to mail, since a listing of a large queue would take a core for itself.

The child has a session of its own (see `base.idle`). The caller keeps the terminal, and an interrupt ends both.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from relayd.base.idle import give_way

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
            give_way(is_patient=True)
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
