"""Commands: what a client says, in order, and what replies are due to it.

A reply is due to each; the last ones may not have gone yet, and nothing can answer those. Refuses to know what a
reply means.
"""

from collections import deque
from collections.abc import Sequence

from relayd.smtp.phase import Phase


class Commands:
    """One connection's. Before anything is said, a greeting is due."""

    __slots__ = ("_due", "_shown", "awaited", "octets")

    def __init__(self) -> None:
        # What replies are due to, in order: the first ones have gone, `awaited` of them, the last ones have not.
        self._due: deque[Phase] = deque([Phase.GREETING])
        self.awaited = 1
        # What has not gone, and the same as it may be told.
        self.octets = b""
        self._shown = b""

    @property
    def due(self) -> Phase | None:
        """What the next reply answers."""
        return self._due[0] if self._due else None

    def say(self, phase: Phase, line: str, shown: str = "") -> None:
        """A line, without CR LF, whose reply is waited for in this phase; `shown` is what may be told of it."""
        self._append(line, shown)
        self._due.append(phase)

    def say_at_once(self, phases: Sequence[Phase], lines: Sequence[str]) -> None:
        """The same with one line after another, for each phase its line."""
        self._append("\r\n".join(lines))
        self._due.extend(phases)

    def expect(self, phase: Phase) -> None:
        """Something goes in another way than through here, and its reply is waited for."""
        self._due.append(phase)
        self.awaited += 1

    def answered(self) -> Phase | None:
        """A reply has come to the first that has gone; what the next one answers."""
        due = self._due
        due.popleft()
        self.awaited -= 1
        return due[0] if due else None

    def end(self, last: str = "") -> None:
        """Nothing is due any more, and what has not gone does not go, but for this line."""
        self._due.clear()
        self.awaited = 0
        self.octets = self._shown = b""
        if last:
            self._append(last)

    def take(self) -> tuple[bytes, bytes]:
        """What is to be sent, which is on its way from now on, and what may be told of it."""
        taken = self.octets, self._shown
        self.octets = self._shown = b""
        self.awaited = len(self._due)
        return taken

    def _append(self, line: str, shown: str = "") -> None:
        octets = line.encode() + b"\r\n"
        self.octets += octets
        self._shown += shown.encode() + b"\r\n" if shown else octets
