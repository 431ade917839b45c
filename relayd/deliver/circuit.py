"""A circuit: whether an address that failed is left alone, and until when. Pure; instants are passed in.

After each failure it rests, for twice as long each time; after repeated ones the circuit is open: whatever else
can take the mail does. When the rest is over, one message finds out whether it answers again.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "probing"]

_OPENS_AT = 3
_FIRST_REST = 15.0
_LONGEST_REST = 3600.0
_MOST_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Circuit:
    """`failures` in a row, the last one at `failed_at`."""

    failures: int = 0
    failed_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it failed so often that it is no choice like the others."""
        return self.failures >= _OPENS_AT

    @property
    def rests_until(self) -> float:
        """When it may be asked again."""
        if not self.failures:
            return self.failed_at
        return self.failed_at + min(_FIRST_REST * 2.0 ** (self.failures - 1), _LONGEST_REST)

    def is_resting(self, now: float) -> bool:
        """Whether its last failure is too recent to ask again."""
        return self.failures > 0 and now < self.rests_until

    def state(self, now: float) -> State:
        """In a word: closed, open, or open with a message that may probe it now."""
        if not self.is_open:
            return "closed"
        return "open" if self.is_resting(now) else "probing"

    def failed(self, now: float) -> "Circuit":
        """After one more failure."""
        return Circuit(min(self.failures + 1, _MOST_FAILURES), now)


CLOSED = Circuit()
