"""The back-off of a destination: until when it is left alone after none of its exchangers could be reached. Pure.

All messages of a destination share it, new ones too: while it lasts none is attempted. When it is over, one
connection finds out whether an exchanger answers. The clock and the randomness are handed in; instants are UTC.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from relayd.deliver.parcel import Via
from relayd.deliver.retry import longest, next_attempt
from relayd.smtp.reply import Reply

_MOST_DESTINATIONS = 10_000


@dataclass(frozen=True, slots=True)
class Closed:
    """A destination that could not be reached `failures` times in a row, and until when it rests."""

    failures: int
    answer: Reply
    via: Via
    until: datetime


class Backoffs:
    """By destination, bounded in number: the one that failed longest ago is forgotten first."""

    def __init__(self, intervals: Sequence[float], dice: random.Random) -> None:
        self._intervals = intervals
        self._longest = timedelta(seconds=longest(intervals))
        self._dice = dice
        self._closed: dict[str, Closed] = {}

    def of(self, destination: str, now: datetime) -> Closed | None:
        """The back-off that the destination is in, or None when it may be tried."""
        closed = self._closed.get(destination)
        if closed is None:
            return None
        # What seems to last longer than any back-off is one that a clock which was set back has left behind.
        return closed if timedelta(0) < closed.until - now <= self._longest else None

    def failed(self, destination: str, answer: Reply, via: Via, now: datetime) -> Closed:
        """It could not be reached; a failure while it rests changes nothing."""
        before = self.of(destination, now)
        if before is not None:
            return before
        last = self._closed.pop(destination, None)
        failures = 1 if last is None else last.failures + 1
        until = next_attempt(self._intervals, failures, now, self._dice)
        closed = self._closed[destination] = Closed(failures, answer, via, until)
        if len(self._closed) > _MOST_DESTINATIONS:
            del self._closed[next(iter(self._closed))]
        return closed

    def reached(self, destination: str) -> bool:
        """It was reached; True when it had not been before."""
        return self._closed.pop(destination, None) is not None
