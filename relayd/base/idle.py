"""Idle: what makes the calling process give way to all others that want the processor.

Linux weighs nice values and scheduling classes within a session first (its autogroups): only a session of its own
that is nice as a whole gives way to the relay's. Never fails: without it the work is only less polite.
"""

import contextlib
import os

_NICEST = 19


def give_way(*, is_patient: bool) -> None:
    """Begin a session and be last in line; the process must not lead a group.

    One that is patient may wait for as long as the machine is busy; any other still has a hundredth of it.
    """
    os.setsid()
    # Neither is there on every kernel, and each helps alone.
    with contextlib.suppress(OSError):
        if is_patient:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(str(_NICEST))
