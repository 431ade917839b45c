"""Children: the processes that the master forks, and what it knows of each.

A child never returns from `fork`: it does its work and ends with the status that says how. Refuses to decide
when a child is started again; that is the master's.
"""

import contextlib
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import setproctitle

from relayd.base.channel import Channel
from relayd.base.counters import Slot
from relayd.base.events import Bug
from relayd.base.log import Log

_CRASHED = 1
# What the master catches and a child must not, since it is the master's to act on.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


@dataclass(slots=True)
class Child:
    """One role and the process that fills it now; pid 0 while none does.

    `began` is monotonic, `started` seconds since 1970; `deaths` are the early ones in a row, `due` when to fork.
    """

    role: str
    serve: Callable[[Channel], int]
    slot: Slot
    pid: int = 0
    channel: Channel | None = None
    began: float = 0.0
    started: float = 0.0
    is_ready: bool = False
    reason: str = ""
    deaths: int = 0
    restarts: int = 0
    due: float | None = 0.0

    @property
    def state(self) -> str:
        """In a word."""
        if not self.pid:
            return "waiting to start again"
        return "running" if self.is_ready else "starting"

    def fork(self, close_others: Callable[[], None], log: Log) -> None:
        """Begin the process; `close_others` gives up, in the child, what belongs to the master alone."""
        ours, theirs = Channel.pair()
        # What is shared stays shared only while nobody writes to it: the collector would.
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be(self.role, lambda: self.serve(theirs), close_others, log)
        theirs.close()
        self.pid = pid
        self.channel = ours
        self.began = time.monotonic()
        self.started = time.time()
        self.is_ready = False
        self.reason = ""
        self.due = None

    def ended(self) -> None:
        """The process is gone."""
        self.pid = 0
        self.is_ready = False
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def kill(self) -> None:
        """End it at once; it is our child and not yet waited for, so the pid is its own."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _be(role: str, work: Callable[[], int], close_others: Callable[[], None], log: Log) -> None:
    status = _CRASHED
    try:
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
        setproctitle.setproctitle(f"relayd: {role}")
        close_others()
        status = work()
    except BaseException as error:
        log.adopt(None)
        log.write(Bug(where=role, traceback="".join(traceback.format_exception(error))))
    finally:
        # Nothing of the master's own end (its exit handlers, its buffers) belongs to a child.
        os._exit(status)
