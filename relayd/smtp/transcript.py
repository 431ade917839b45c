"""A transcript: what both sides said of one transaction and when, for people who ask why mail was not taken.

It is kept as it comes and put into words only when somebody asks, since nobody asks about mail that was taken.
Holds no mail data. The clock is handed in. Never fails: whatever a server says has become a reply or a reason.
"""

from collections.abc import Callable, Sequence

from relayd.smtp.reply import Reply, printable

Clock = Callable[[], float]

# What is shown of it, in lines and in characters of one.
MOST_LINES = 40
LONGEST_LINE = 200

# When, in seconds since connect(), and what.
_Said = tuple[float, Reply | bytes | str]


class Transcript:
    """That of a connection's opening, from connect() on, or of a transaction: the opening, and what came of it."""

    __slots__ = ("_began", "_clock", "_opening", "_said")

    def __init__(self, clock: Clock = float) -> None:
        self._clock = clock
        self._began = clock()
        # Replies by the server, octets by us, and in words how it ended. The conversation bounds their number:
        # each reply answers a command, and the one that answers none is the last.
        self._said: list[_Said] = []
        self._opening: Sequence[_Said] | None = None

    def transaction(self) -> "Transcript":
        """That of the next one, which has nothing of those before it."""
        made = Transcript.__new__(Transcript)
        made._clock, made._began, made._said = self._clock, self._began, []
        made._opening = self._said if self._opening is None else self._opening
        return made

    @property
    def seconds(self) -> float:
        """How long ago connect() was."""
        return self._clock() - self._began

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
        said = (*(self._opening or ()), *self._said)
        lines = [f"{seconds:.3f} {_short(line)}" for seconds, what in said for line in _lines(what)]
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
