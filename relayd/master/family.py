"""The family: all children that run, of whatever generation: forked, heard, waited for and ended.

Refuses to decide who runs and when. What a child says and its end go to whoever asked to be told.
"""

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Sequence

from relayd.base import events
from relayd.base.channel import Garbled, Message, Ready, Refused, Reopen, Waiting
from relayd.base.log import Log
from relayd.master.children import Child

# A process that was killed is gone at once, unless it waits in the kernel.
_STUCK_SECONDS = 5.0


class Family:
    """`close_in_child` gives up what belongs to the master alone; `said` and `ended` are told what happens."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        log: Log,
        close_in_child: Callable[[Child], None],
        said: Callable[[Child, Message], None],
        ended: Callable[[Child, int, int], None],
    ) -> None:
        self._selector = selector
        self._log = log
        self._close_in_child = close_in_child
        self._said = said
        self._ended = ended
        self._running: list[Child] = []
        # Since when, by pid.
        self._killed: dict[int, float] = {}

    @property
    def running(self) -> Sequence[Child]:
        """All that have a process now, the oldest first."""
        return tuple(self._running)

    def fork(self, child: Child) -> None:
        """Begin its process."""
        try:
            child.fork(lambda: self._close_all(child), self._log)
        except OSError as error:
            # The machine is short of something, and may have it again later.
            child.reason = f"it cannot be started: {error.strerror or error}"
            self._ended(child, 0, 1)
            return
        self.adopt(child)

    def adopt(self, child: Child) -> None:
        """Take in one that runs already."""
        assert child.channel is not None
        self._running.append(child)
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._hear(child))

    def _close_all(self, made: Child) -> None:
        for child in self._running:
            if child.channel is not None:
                child.channel.close()
            if child.stack is not None:
                child.stack.close()
        self._close_in_child(made)

    def reopen_log(self) -> None:
        """Tell all of them that the log file was moved away."""
        for child in self._running:
            if child.channel is not None:
                child.channel.send(Reopen())

    def retire_all(self, seconds: float, *, by: float) -> None:
        """Tell all of them to end."""
        for child in self._running:
            child.retire(seconds, by=by)

    def kill_overdue(self, now: float) -> None:
        """End those that were to have ended by now."""
        for child in self._running:
            if child.retire_by is not None and now >= child.retire_by:
                self._killed.setdefault(child.pid, now)
                child.kill()

    def leave_stuck(self, now: float) -> None:
        """At the end: wait no longer for those that not even SIGKILL ends, since a disk does not answer."""
        for child in list(self._running):
            killed = self._killed.get(child.pid, now)
            if now - killed >= _STUCK_SECONDS:
                reason = "it waits for the disk, and not even SIGKILL ends it; it goes when the disk answers"
                self._log.write(
                    events.ProcessHung(
                        role=child.role, child=child.pid, reason=reason, seconds=now - killed, killed=True
                    )
                )
                self._forget(child)
                self._running.remove(child)

    def next_kill(self) -> float | None:
        """When that is due, on the monotonic clock."""
        return min((each.retire_by for each in self._running if each.retire_by is not None), default=None)

    def reap(self) -> None:
        """Wait for those that have ended, and tell."""
        for child in list(self._running):
            try:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                # Somebody else has waited for it; how it ended is not known.
                pid, status = child.pid, 0xFF00
            if not pid:
                continue
            # Its last words.
            while self._hear(child):
                pass
            self._forget(child)
            self._running.remove(child)
            self._killed.pop(child.pid, None)
            child.ended()
            self._ended(child, pid, os.waitstatus_to_exitcode(status))

    def _hear(self, child: Child) -> bool:
        """Take in one message; give whether there may be more."""
        if child.channel is None:
            return False
        try:
            said = child.channel.receive()
        except BlockingIOError:
            return False
        match said:
            case None:
                self._forget(child)
                return False
            case Waiting():
                child.is_waiting = True
            case Ready():
                child.is_ready = True
            case Refused():
                child.reason = said.reason
            case Garbled():
                self._log.write(
                    events.Bug(where=f"channel of {child.role}", traceback=f"no message: {said.beginning}")
                )
        self._said(child, said)
        return True

    def _forget(self, child: Child) -> None:
        if child.channel is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.channel)


def in_words(status: int) -> str:
    """How a process ended."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
