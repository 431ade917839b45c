"""A child: a process that the master forks, and what it knows of it.

It never returns from `fork`: it does its work and ends with the status that says how. Refuses to decide
when a child is started again; that is the master's.
"""

import contextlib
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import setproctitle

from relayd.base.channel import Begin, Channel, Retire
from relayd.base.counters import Slot
from relayd.base.events import Bug
from relayd.base.log import Log
from relayd.master.places import Place
from relayd.master.stack import Stack

_CRASHED = 1
# After the time that it was given to end, a child gets this much longer to notice, and is then killed.
GRACE_SECONDS = 5.0
# What the master catches and a child must not, since it is the master's to act on.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


@dataclass(slots=True, eq=False)
class Child:
    """One role and the process that fills it now; pid 0 while none does.

    `began` is monotonic, `started` seconds since 1970; `deaths` are the early ones in a row, `due` when to fork.
    Of what `is_single` no two may work at the same time. Once it was told to retire, `retire_by` is when it is
    killed.
    """

    role: str
    serve: Callable[[Channel], int]
    slot: Slot
    place: Place | None = None
    is_single: bool = False
    pid: int = 0
    channel: Channel | None = None
    began: float = 0.0
    started: float = 0.0
    is_waiting: bool = False
    has_begun: bool = False
    is_ready: bool = False
    reason: str = ""
    deaths: int = 0
    restarts: int = 0
    due: float | None = None
    retire_by: float | None = None
    stack: Stack | None = None

    @property
    def is_worker(self) -> bool:
        """Whether clients come to it."""
        return self.place is not None and self.place.part is not None

    @property
    def state(self) -> str:
        """In a word."""
        if not self.pid:
            return "waiting to start again"
        if self.retire_by is not None:
            return "retiring"
        return "running" if self.is_ready else "starting"

    def fork(self, close_others: Callable[[], None], log: Log) -> None:
        """Begin the process; `close_others` gives up, in the child, what belongs to the master alone.

        Raises OSError, and then nothing has begun.
        """
        self.began = time.monotonic()
        self.due = None
        with ExitStack() as undo:
            ours, theirs = Channel.pair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            stack = Stack()
            undo.callback(stack.give_up)
            # What is shared stays shared only while nobody writes to it: the collector would.
            gc.freeze()
            pid = os.fork()
            undo.pop_all()
        if pid == 0:
            ours.close()
            stack.serve()
            _be(self.role, lambda: self.serve(theirs), close_others, log, self.slot)
        theirs.close()
        stack.keep()
        self.stack = stack
        self.pid = pid
        self.channel = ours
        self.started = time.time()
        self.is_waiting = self.has_begun = self.is_ready = False
        self.reason = ""
        self.retire_by = None

    def begin(self) -> None:
        """Let one that waits take up its work; it has not begun where it could not be told."""
        self.has_begun = self.channel is not None and self.channel.send(Begin())

    def retire(self, seconds: float, *, gently: bool = False, by: float) -> None:
        """Tell it to end within so many seconds. It is killed a little after `by`, which is monotonic."""
        self.retire_by = by + GRACE_SECONDS if self.retire_by is None else min(self.retire_by, by + GRACE_SECONDS)
        if self.channel is not None:
            self.channel.send(Retire(seconds, gently))

    def cut(self) -> None:
        """It is not wanted any more, and has nothing that could be lost."""
        self.retire_by = 0.0
        self.kill()

    def ended(self) -> None:
        """The process is gone."""
        self.pid = 0
        self.is_waiting = self.has_begun = self.is_ready = False
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.stack is not None:
            self.stack.close()
            self.stack = None

    def kill(self) -> None:
        """End it at once; it is our child and not yet waited for, so the pid is its own."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _be(role: str, work: Callable[[], int], close_others: Callable[[], None], log: Log, slot: Slot) -> None:
    status = _CRASHED
    try:
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
        setproctitle.setproctitle(f"relayd: {role}")
        close_others()
        status = work()
    except BaseException as error:
        slot.add("bugs")
        log.adopt(None)
        log.write(Bug(where=role, traceback="".join(traceback.format_exception(error))))
    finally:
        # Nothing of the master's own end (its exit handlers, its buffers) belongs to a child.
        os._exit(status)
