"""The log: events as lines, collected for a moment and written whole.

A log that cannot be written never stops mail and never waits: 1 MiB of lines is kept in memory, then the oldest
are dropped, and an event says how many once lines can be written again. Refuses to know what an event means.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from relayd.base.events import Event, LogDropped
from relayd.base.line import Format, render
from relayd.base.sink import Sink

_KEPT = 1 << 20
# So many events wait at most to become lines, each with what it was told. One after another they do so in half the
# time that it takes in the midst of other work.
_SAID = 64
# Seconds between two writes, once there were as many as that makes in a second. Each takes a transaction of the
# file's journal, and waits while that is committed: one in each turn of a busy loop costs a tenth of a message.
_PACE = 0.05
_SAVED = 1.0
Later = Callable[[float, Callable[[], None]], object]
_utc_now = partial(datetime.now, UTC)


class Log:
    """One process's hand on the log.

    `path` None means the descriptor `fd`. `later` schedules a call in so many seconds, as an event loop does: a
    line is written after the present turn of work, and where there are many, with what comes in the next moment.
    Without it each event is written at once, which is right for a process with few. `clock` is in seconds.
    """

    def __init__(
        self,
        format: Format,
        path: Path | None = None,
        *,
        fd: int = 2,
        later: Later | None = None,
        now: Callable[[], datetime] = _utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._format = format
        self._sink = Sink(path, fd)
        self._later = later
        self._now = now
        self._clock = clock
        self._not_before = 0.0
        self._pid = os.getpid()
        self._is_scheduled = False
        # Whether the last line could not be written.
        self._is_stuck = False
        self._forget()

    def _forget(self) -> None:
        # What has happened, and whole lines of what did before.
        self._said: list[tuple[datetime, Event]] = []
        self._lines = bytearray()
        self._dropped = 0
        # What is being written: whole lines. It is never dropped, since the beginning of the first may be out.
        self._block = b""

    def adopt(self, later: Later | None) -> None:
        """Go on with another way of scheduling; in a forked child without the lines that its parent will write."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._forget()
            self._sink.forget()
        self._later = later
        self._is_scheduled = False

    def speak(self, format: Format) -> None:
        """Write in another form from here on."""
        self._render()
        self._format = format

    def write(self, event: Event) -> None:
        """Take one event; it is written at the end of this turn, or a moment later."""
        self._said.append((self._now(), event))
        if len(self._said) >= _SAID:
            self._render()
        if self._later is None:
            self.flush()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._later(max(0.0, self._not_before - self._clock()), self.flush)

    def flush(self) -> None:
        """Write what waits; what cannot be written stays for the next time."""
        self._is_scheduled = False
        self._not_before = max(self._not_before, self._clock() - _SAVED) + _PACE
        self._render()
        self._put()

    def fileno(self) -> int:
        """The descriptor that lines go to."""
        return self._sink.fileno()

    def reopen(self) -> None:
        """Open the file anew, after logrotate has moved it away; raise OSError, and then the old one stays."""
        self.flush()
        self._sink.reopen()

    def _render(self) -> None:
        """Make lines of what has happened; give up the oldest where there are too many."""
        said, self._said = self._said, []
        for at, event in said:
            self._lines += render(event, self._format, at, self._pid)
        if len(self._lines) > _KEPT and not self._is_stuck:
            # One moment has said so much; nothing is dropped that can be written.
            self._put()
        if len(self._lines) > _KEPT:
            end = self._lines.index(b"\n", len(self._lines) - _KEPT - 1) + 1
            self._dropped += self._lines.count(b"\n", 0, end)
            del self._lines[:end]

    def _put(self) -> None:
        """Write lines until there are none, or no more can be written now."""
        while self._block or self._lines:
            if not self._block:
                self._block = self._next_block()
            try:
                self._block = self._sink.write(self._block)
            except OSError:
                self._is_stuck = True
                return
        self._is_stuck = False

    def _next_block(self) -> bytes:
        """As many whole lines as are written at once."""
        if self._dropped:
            self._lines[:0] = render(LogDropped(lines=self._dropped), self._format, self._now(), self._pid)
            self._dropped = 0
        end = self._lines.rindex(b"\n", 0, self._sink.largest) + 1
        block = bytes(self._lines[:end])
        del self._lines[:end]
        return block
