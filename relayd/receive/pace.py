"""The pace of mail data: when it comes so slowly that it only keeps the session open. Pure: it is given the time.

A person at a keyboard may type a message, and a stranger has less patience to expect than a client that may relay.
"""

from dataclasses import dataclass

# Clients that may relay: after so many timeouts, so many octets a second. A person is done long before.
_PATIENCE_TIMEOUTS = 12
_PATIENT_RATE = 1000
# All others: the configured rate, once this time is over.
_GRACE_SECONDS = 60.0


@dataclass(slots=True)
class Pace:
    """One message's: when its data began, and how many octets of it have come, those refused included."""

    began: float
    octets: int = 0

    def is_too_slow(self, now: float, *, timeout: float, rate: int, largest: int, is_trusted: bool) -> bool:
        """Whether it is no use to wait for the end; `rate` is the least for strangers, in octets a second.

        However fast its octets come, a message may not take longer than the `largest` one at the least rate: what
        surrounds small chunks counts as octets too.
        """
        lasted = now - self.began
        patience = _PATIENCE_TIMEOUTS * timeout
        if is_trusted or not rate:
            rate = _PATIENT_RATE
            is_slow = lasted >= patience and self.octets < lasted * rate
        else:
            is_slow = self.octets < (lasted - _GRACE_SECONDS) * rate
        return is_slow or lasted >= max(patience, largest / rate)
