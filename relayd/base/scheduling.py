"""Scheduling: how the processes that carry mail share the processors, where these are all busy.

None of them interrupts another when it wakes: whoever runs goes on to the end of its turn, with warm caches, and
who waits finds more to do at once. Where all processors are busy that takes a tenth of the cost off each message.
Never fails: without it the work is only slower.
"""

import contextlib
import os

# A third of what others get, where both want it.
_LATER = 5


def take_long_turns() -> None:
    """Interrupt nobody; a process that sleeps most of the time still runs as soon as a processor is free."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def come_second() -> None:
    """The same, and let others have more: what has been taken is safe, and who wants to give more waits for us."""
    take_long_turns()
    with contextlib.suppress(OSError):
        os.nice(_LATER)
