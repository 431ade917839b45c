"""Growth: how many connections a destination may have, by what its connections came to. Pure.

It may have all of them from the start. After a failure it begins with one, and each message that is carried allows
one more: 1, 2, 4 … as all that are open carry theirs. After a refusal beside connections that work there is none
more for a while, and then one more to begin with. Instants are seconds on a monotonic clock that is handed in.
"""


class Growth:
    """`most` is the bound in good times."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = most
        self._not_before = 0.0

    @property
    def allowed(self) -> int:
        """How many there may be."""
        return self._allowed

    @property
    def is_slow(self) -> bool:
        """Whether there may be fewer than in good times."""
        return self._allowed < self._most

    def allows_another(self, connections: int, now: float) -> bool:
        """Whether one may be opened beside so many; the first always may."""
        return connections == 0 or (connections < self._allowed and now >= self._not_before)

    def carried(self) -> None:
        """A message was taken."""
        if self._allowed < self._most:
            self._allowed += 1

    def begin_again(self) -> None:
        """No exchanger could be reached, and now one was."""
        self._allowed = 1

    def refused(self, beside: int, until: float) -> None:
        """One was refused beside so many that work; there is none more until an instant."""
        self._allowed = min(self._most, beside + 1)
        self._not_before = until
