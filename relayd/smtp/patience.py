"""Patience: how much a session may ask for in vain before it is closed.

Refuses to know what was said, and how long it took: time is not counted here. What is used up is said by the
words of the last reply.
"""

# 5yz replies in a session.
MAXIMUM_ERRORS = 20
# Commands in a row that bring no mail, such as NOOP and RSET; what comes after them is no longer answered.
MAXIMUM_IDLE = 100
# 4yz replies in a row, such as those to recipients beyond the limit.
MAXIMUM_REFUSALS = 1000


class Patience:
    """Counts of one session. Each method counts one, and gives the reason to close when it was one too many."""

    __slots__ = ("_errors", "_idle", "_refusals")

    def __init__(self) -> None:
        self._errors = 0
        self._idle = 0
        self._refusals = 0

    def idle(self) -> str | None:
        """A command that brings no mail."""
        self._idle += 1
        return "too many commands without mail" if self._idle > MAXIMUM_IDLE else None

    def error(self) -> str | None:
        """A 5yz reply."""
        self._errors += 1
        return "too many errors" if self._errors == MAXIMUM_ERRORS else None

    def refusal(self) -> str | None:
        """A 4yz reply."""
        self._refusals += 1
        return "too many refused commands" if self._refusals == MAXIMUM_REFUSALS else None

    def mail_came(self) -> None:
        """A message was accepted: the rows begin anew. Errors are counted for the whole session."""
        self._idle = self._refusals = 0
