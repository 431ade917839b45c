"""Gentle work: in a process that gives way to mail, since a listing of a large queue would take a core for itself.

Linux weighs nice values and scheduling classes within a session first (its autogroups): only a session of its own
that is nice as a whole gives way to the relay's. The caller keeps the terminal, and an interrupt ends both.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable

_NICEST = "19"
_FAILED = 1


def gently(work: Callable[[], int]) -> int:
    """Do the work in a child of its own session; give its exit status."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = _FAILED
        try:
            _give_way()
            status = work()
            sys.stdout.flush()
        finally:
            os._exit(status)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return os.waitstatus_to_exitcode(status)


def _give_way() -> None:
    os.setsid()
    # Neither is there on every kernel, and each helps alone.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(_NICEST)
