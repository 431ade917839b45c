"""Outward: whether this host's way out to the delivery port looks blocked, as many providers block port 25. Pure.

It looks so while every connect to every destination times out, several of them, and nobody has answered in any
way: a refused connection is an answer too. Instants are passed in.
"""

from dataclasses import dataclass, field

_SEVERAL = 3
_MOST_DESTINATIONS = 1000


@dataclass(slots=True)
class Outward:
    """What connects came to since the last one that was answered: the destinations, and when that began."""

    since: float | None = None
    destinations: set[str] = field(default_factory=set)

    @property
    def looks_blocked(self) -> bool:
        """Whether nobody answers, whoever is asked."""
        return len(self.destinations) >= _SEVERAL

    def answered(self) -> None:
        """Somebody took a connection or refused it."""
        if self.since is not None:
            self.since = None
            self.destinations.clear()

    def timed_out(self, destination: str, now: float) -> None:
        """Nobody did, in all the time that a connect is given."""
        if self.since is None:
            self.since = now
        if len(self.destinations) < _MOST_DESTINATIONS:
            self.destinations.add(destination)
