"""A digest: when an originator gets so many notifications that the rest of the hour's come as one. Pure.

The first few of an hour go out at once. What fails beyond them stays owed, in the spool, until an hour after the
first of those, and is told then in one summary. None is suppressed. The clock is handed in; instants are UTC.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

_HOUR = timedelta(hours=1)
_MOST_ORIGINATORS = 10_000


class Verdict(Enum):
    """What becomes of word that an originator is owed."""

    TELL = "now, in a notification of its own"
    WAIT = "not before the summary"
    SUMMARISE = "now, in the summary"


@dataclass(slots=True)
class _Hour:
    told: deque[datetime] = field(default_factory=deque)
    summary: datetime | None = None


class Digests:
    """All originators that were told of something lately; `limit` is how many notifications an hour."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hours: dict[str, _Hour] = {}

    def judge(self, originator: str, now: datetime) -> tuple[Verdict, datetime]:
        """The verdict on one more failure, and until when it waits where it waits."""
        hour = self._hour(originator, now)
        if hour.summary is not None and hour.summary - now > _HOUR:
            # The clock was set back: what is owed waits for an hour all the same.
            hour.summary = now + _HOUR
        if hour.summary is None:
            if len(hour.told) < self._limit:
                hour.told.append(now)
                return Verdict.TELL, now
            hour.summary = now + _HOUR
        return (Verdict.WAIT if now < hour.summary else Verdict.SUMMARISE), hour.summary

    def summarised(self, originator: str, now: datetime) -> None:
        """The summary goes out, and counts as one notification."""
        hour = self._hour(originator, now)
        hour.told.append(now)
        hour.summary = None

    def _hour(self, originator: str, now: datetime) -> _Hour:
        hour = self._hours.pop(originator, None) or _Hour()
        self._hours[originator] = hour
        while hour.told and not timedelta(0) <= now - hour.told[0] < _HOUR:
            hour.told.popleft()
        if len(self._hours) > _MOST_ORIGINATORS:
            del self._hours[next(iter(self._hours))]
        return hour
