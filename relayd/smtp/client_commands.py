"""Commands: what a client says, in order, and what it waits for because of that.

A reply is due to each; the last ones may not have gone yet, and nothing can answer those. Refuses to know what a
reply means.
"""

from collections import deque

from relayd.smtp.phase import Phase


class Commands:
    """One connection's. Before anything is said, a greeting is due."""

    __slots__ = ("_due", "_octets", "_shown", "_unsent")

    def __init__(self) -> None:
        # What replies are due to, in order; the last `_unsent` of them are still in `_octets`.
        self._due: deque[Phase] = deque([Phase.GREETING])
        self._unsent = 0
        self._octets: list[bytes] = []
        # The same as it may be told.
        self._shown: list[bytes] = []

    @property
    def due(self) -> Phase | None:
        """What the next reply answers."""
        return self._due[0] if self._due else None

    @property
    def are_all_answered(self) -> bool:
        """Whether nothing that has gone waits for a reply."""
        return len(self._due) == self._unsent

    def say(self, phase: Phase, line: str, shown: str = "") -> None:
        """A line, without CR LF, whose reply is waited for in this phase; `shown` is what may be told of it."""
        self._append(line, shown)
        self._due.append(phase)
        self._unsent += 1

    def expect(self, phase: Phase) -> None:
        """Something goes, or happens, in another way than through here, and is waited for."""
        self._due.append(phase)

    def answered(self) -> None:
        """What was due has come."""
        self._due.popleft()

    def end(self, last: str = "") -> None:
        """Nothing is due any more, and what has not gone does not go, but for this line."""
        self._due.clear()
        self._octets.clear()
        self._shown.clear()
        self._unsent = 0
        if last:
            self._append(last)

    def take(self) -> tuple[bytes, bytes]:
        """What is to be sent, which is on its way from now on, and what may be told of it."""
        taken = b"".join(self._octets), b"".join(self._shown)
        self._octets, self._shown, self._unsent = [], [], 0
        return taken

    def _append(self, line: str, shown: str = "") -> None:
        self._octets.append(line.encode() + b"\r\n")
        self._shown.append((shown or line).encode() + b"\r\n")
