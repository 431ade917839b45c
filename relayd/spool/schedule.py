"""The schedule: which messages are due now, which later, and which of them comes next. Pure: it reads no clock.

One place for each ID. It says where a message was seen last, which people may have changed since; whoever takes it
from here finds out. Instants are seconds since 1970.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

NOW = 0.0

# Mail that comes goes before what was found in new/, and that before what waited, so that no large queue holds it
# up. While it comes faster than it can be sent, the others go all the same: of each kind one of so many.
_TURN = 4
# Where so many wait that came just now, one of four is the latest of them: what one destination's mail fills, and
# drains as fast as it can, does not hold up the next message for another for as long.
_LONG_LINE = 1000
# A look again at all that is scheduled is spread over so many portions.
_PORTIONS = 10
_SMALLEST_PORTION = 1000


class Place(NamedTuple):
    """Where and when: a message file of `size` octets in the folder `state`; `is_fresh` when it came just now.

    It is untried when the word of it was the first that was seen of it: it cannot have a journal.
    """

    due: float
    id: str
    size: int
    state: str
    is_fresh: bool = False
    is_untried: bool = False


class Schedule:
    """All messages that nobody has claimed."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._fresh: deque[Place] = deque()
        self._found: deque[Place] = deque()
        self._later: list[Place] = []
        self._turn = 0
        self._unseen: list[str] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._places

    def get(self, message_id: str) -> Place | None:
        """The message's place, when it has one."""
        return self._places.get(message_id)

    def put(self, place: Place) -> None:
        """Give a message its place, instead of the one that it may have; what is due NOW keeps its order."""
        self._places[place.id] = place
        if place.due == NOW:
            (self._fresh if place.is_fresh else self._found).append(place)
        else:
            heapq.heappush(self._later, place)

    def forget(self, message_id: str) -> None:
        """Take a message out."""
        self._places.pop(message_id, None)

    def pop(self, now: float) -> Place | None:
        """Take out the next message that is due at `now`."""
        self._drop_stale()
        is_due = bool(self._later) and self._later[0].due <= now
        self._turn = (self._turn + 1) % _TURN
        if is_due and (self._turn == 0 or not (self._fresh or self._found)):
            place = heapq.heappop(self._later)
        elif self._found and (self._turn == 1 or not self._fresh):
            place = self._found.popleft()
        elif self._fresh:
            place = self._latest() if self._turn == 2 and len(self._fresh) > _LONG_LINE else self._fresh.popleft()
        else:
            return None
        del self._places[place.id]
        return place

    def next_due(self) -> float | None:
        """When the next one is due: NOW, an instant, or None when there is none."""
        self._drop_stale()
        if self._fresh or self._found:
            return NOW
        return self._later[0].due if self._later else None

    def count(self, state: str) -> int:
        """How many were seen in a folder."""
        return sum(place.state == state for place in self._places.values())

    def portion(self) -> list[Place]:
        """The next few of what is due later, to be looked at again; after ten portions, or so, all were."""
        if not self._unseen:
            self._unseen = [place.id for place in self._places.values() if place.due != NOW]
        size = max(_SMALLEST_PORTION, len(self._places) // _PORTIONS)
        seen, self._unseen = self._unseen[:size], self._unseen[size:]
        places = [self._places.get(message_id) for message_id in seen]
        return [place for place in places if place is not None and place.due != NOW]

    @property
    def is_seen(self) -> bool:
        """Whether the portions have come to the end of a round."""
        return not self._unseen

    def _latest(self) -> Place:
        """The last in line that still has its place; the first one has, so there is one."""
        place = self._fresh.pop()
        while self._places.get(place.id) is not place:
            place = self._fresh.pop()
        return place

    def _drop_stale(self) -> None:
        """A place that was given up stays in line until it is the first there."""
        for line in (self._fresh, self._found):
            while line and self._places.get(line[0].id) is not line[0]:
                line.popleft()
        while self._later and self._places.get(self._later[0].id) is not self._later[0]:
            heapq.heappop(self._later)
