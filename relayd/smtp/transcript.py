"""A transcript: what both sides of one conversation said and when, for people who ask why mail was not taken.

It is kept as it comes and put into words only when somebody asks, since nobody asks about mail that was taken.
Holds no mail data. The clock is handed in. Never fails: whatever a server says has become a reply or a reason.
"""

from collections.abc import Callable

from relayd.smtp.reply import Reply, printable

Clock = Callable[[], float]

# What is shown of it, in lines and in characters of one.
MOST_LINES = 40
LONGEST_LINE = 200


class Transcript:
    """One connection's, from connect() on: what came before the first transaction, and the last transaction."""

    def __init__(self, clock: Clock = float) -> None:
        self._clock = clock
        self._began = clock()
        # Replies by the server, octets by us, and in words how it ended. The conversation bounds their number:
        # each reply answers a command, and the one that answers none is the last.
        self._said: list[tuple[float, Reply | bytes | str]] = []
        self._head: int | None = None

    @property
    def seconds(self) -> float:
        """How long ago connect() was."""
        return self._clock() - self._began

    def begin(self) -> None:
        """A transaction begins, and the one before it is forgotten."""
        if self._head is None:
            self._head = len(self._said)
        del self._said[self._head :]

    def said(self, commands: bytes) -> None:
        """We said so."""
        self._said.append((self.seconds, commands))

    def heard(self, answer: Reply, at: float) -> None:
        """The server said so, `at` so many seconds after connect()."""
        self._said.append((at, answer))

    def noted(self, words: str) -> None:
        """Something happened that neither side said in words."""
        self._said.append((self.seconds, words))

    def ended(self, why: Reply) -> None:
        """It ended for a reason that is not the server's."""
        self.noted(" ".join(why.lines))

    def lines(self) -> tuple[str, ...]:
        """Seconds since connect(), C or S for who said it or - for what happened, and what; the middle cut out."""
        lines = [f"{seconds:.3f} {_short(line)}" for seconds, what in self._said for line in _lines(what)]
        left_out = len(lines) - MOST_LINES + 1
        if left_out > 1:
            # The end says more than what led to it; the beginning has who it is.
            head = MOST_LINES // 2
            lines[head : head + left_out] = [f"… {left_out} lines left out"]
        return tuple(lines)


def _lines(what: Reply | bytes | str) -> list[str]:
    match what:
        case Reply():
            enhanced = f"{what.enhanced} " if what.enhanced else ""
            last = len(what.lines) - 1
            return [
                f"S {what.code}{' ' if index == last else '-'}{enhanced}{line}"
                for index, line in enumerate(what.lines)
            ]
        case bytes():
            return [f"C {line}" for line in what.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n")]
        case _:
            return [f"- {what}"]


def _short(line: str) -> str:
    line = printable(line)
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
