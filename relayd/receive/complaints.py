"""Complaints: what goes wrong again and again, said once a minute for each kind. Pure: it is given the time."""

_EVERY_SECONDS = 60.0


class Complaints:
    """Knows when each kind was last said, and how often it happened since."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def is_due(self, kind: str, now: float) -> bool:
        """Whether what just happened is to be said; `unsaid` then tells of the others."""
        if kind in self._said and now - self._said[kind] < _EVERY_SECONDS:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return False
        self._said[kind] = now
        return True

    def unsaid(self, kind: str) -> int | None:
        """How often it happened without being said since the last time, or None; begins to count again."""
        return self._unsaid.pop(kind, None)
