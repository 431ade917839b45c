"""Loners: exchangers that are sent nothing along with mail data, since once what went so was not answered. Pure.

They outlive the destination that found it out, and hold for all that use the same exchanger. Bounded in number:
the one that was noted longest ago is forgotten first. Instants are passed in.
"""

_MOST_EXCHANGERS = 10_000


class Loners:
    """By the exchanger's name, each for so many `seconds`: it may have been a restart alone."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[str, float] = {}

    def add(self, exchanger: str, now: float) -> None:
        """Commands that went along with mail data were not answered."""
        self._until.pop(exchanger, None)
        self._until[exchanger] = now + self._seconds
        if len(self._until) > _MOST_EXCHANGERS:
            del self._until[next(iter(self._until))]

    def has(self, exchanger: str, now: float) -> bool:
        """Whether it is one."""
        until = self._until.get(exchanger)
        return until is not None and now < until
