"""The voice: what the delivery process writes and counts about itself, and above all what should not be.

Log and counters are the loop's; the spool's thread speaks through it. Refuses to decide what becomes of a trouble.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Callable

from relayd.base import events
from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.spool.errors import SpoolError


class Voice:
    """One for a process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: Log, slot: Slot) -> None:
        self._loop = loop
        self._log = log
        self._slot = slot

    def write_from_spool(self, event: events.Event) -> None:
        """For the spool's thread."""
        self._later(lambda: self._log.write(event))

    def count_from_spool(self, name: str, count: int) -> None:
        """For the spool's thread: of two that count, one would lose some."""
        self._later(lambda: self._slot.add(name, count))

    def _later(self, say: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):
            # The loop may have ended before a disk that hangs.
            self._loop.call_soon_threadsafe(say)

    def trouble(self, where: str, error: Exception) -> None:
        """Something failed that may: the spool, the disk. Whatever else it is, is a bug."""
        if isinstance(error, SpoolError | OSError):
            self._log.write(events.SpoolTrouble(reason=f"{where}: {error}"))
        else:
            self.bug(where, error)

    def bug(self, where: str, error: BaseException) -> None:
        """A defect of ours."""
        self._slot.add("bugs")
        self._log.write(events.Bug(where=where, traceback="".join(traceback.format_exception(error))))

    def unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """The event loop's exception handler."""
        error, message = context.get("exception"), str(context.get("message", "event loop"))
        self.bug(message, error if isinstance(error, BaseException) else RuntimeError(message))
