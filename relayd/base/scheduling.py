"""Scheduling: how the processes that carry mail share the processors, where these are all busy.

Where there is a worker for each processor, each stays on its own: its two threads share an interpreter, and on two
processors they would hand it to and fro between two caches. None of them interrupts another when it wakes: whoever
runs goes on to the end of its turn, with warm caches, and who waits finds more to do at once. Where all processors
are busy each of these takes some 7 % of the cost off a message. Never fails: without it the work is only slower.
"""

import contextlib
import os

# A third of what others get, where both want it: with less, mail that comes on many connections waits too long.
_LATER = 5


def processors() -> int:
    """How many there are for this process, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def stay(number: int, of: int) -> bool:
    """Be one of so many (`number` from 0) that have a processor each, if there are as many of these.

    For this thread, and those that it begins. Whether it is; what has no processor of its own goes round these.
    """
    found = sorted(os.sched_getaffinity(0))
    if len(found) == of > 1:
        # It may have been taken away this moment.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {found[number]})
            return True
    return False


def take_long_turns() -> None:
    """Interrupt nobody; a process that sleeps most of the time still runs as soon as a processor is free."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def come_second() -> None:
    """The same, and let others have more: what has been taken is safe, and who wants to give more waits for us."""
    take_long_turns()
    with contextlib.suppress(OSError):
        os.nice(_LATER)
