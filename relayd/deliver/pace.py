"""A pace: so many messages a second, and never more than a second's worth at once. Pure: the clock is handed in.

Whoever wants to send takes the next slot, now or soon, and waits for it; who cannot use it gives it back. Who has
to open a connection first claims one before, so that nobody opens another for the same slot. What cannot be kept
waiting so long joins a line, which gives each message the instant at which its slot will be free.
Instants are seconds on a monotonic clock, durations seconds.
"""

import math


class Pace:
    """`rate` is in messages a second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._interval = 1.0 / rate
        # How far slots may be taken early, after a time in which none was: up to a second's worth.
        self._early = max(0.0, 1.0 - self._interval)
        self._next = -math.inf
        self._claims = 0
        self._line_end = -math.inf
        self._joined = -math.inf

    def wait(self, now: float) -> float:
        """How long until a slot is free that nobody has claimed."""
        return max(0.0, max(self._next, now) + self._claims * self._interval - self._early - now)

    def take(self, now: float) -> float:
        """Take the next slot; how long until then."""
        wait = max(0.0, self._next - self._early - now)
        self._next = max(self._next, now) + self._interval
        return wait

    def claim(self) -> None:
        """Somebody will take a slot, and says `unclaim` then, or when it does not after all."""
        self._claims += 1

    def unclaim(self) -> None:
        """The end of a claim."""
        self._claims -= 1

    def give_back(self) -> None:
        """A slot that was taken was not used."""
        self._next -= self._interval

    def room(self, seconds: float) -> int:
        """How many messages have their slots within so many seconds."""
        return math.ceil(seconds / self._interval) + 1

    def join(self, now: float, seconds: float, most: float) -> float:
        """Put a message at the end of the line, which begins after so many seconds; how long it has to wait.

        A line for whose slots nobody comes for so long is forgotten: its messages are gone. Nobody waits longer
        than `most`; who would has no slot, and joins again then.
        """
        if now - max(self._next, self._joined) > seconds:
            self._line_end = now
        self._joined = now
        end = max(self._line_end, now + seconds) + self._interval
        if end - now > most:
            return most
        self._line_end = end
        return end - now
