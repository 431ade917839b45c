"""The slowdown: how long a client waits before its next password is looked at. Pure: it is given the time.

Each failure of an address doubles the wait, 1, 2, 4 … 30 s. A success forgets them when all were for the same
user, who has mistyped a password; so does an hour without a failure. Once an address has failed, attempts that
come at once wait in a row, so that many sessions guess no faster than one; each worker counts for itself. Bounded:
of too many addresses those are forgotten whose last failure is the longest ago.
"""

from collections import OrderedDict
from dataclasses import dataclass

_LONGEST_SECONDS = 30.0
_FORGOTTEN_SECONDS = 3600.0
_MOST_CLIENTS = 4096
# Of a name; a user's is no longer, and a client may say a much longer one.
_LONGEST_NAME = 255


@dataclass(slots=True)
class _Failures:
    count: int
    # The one user that all were for, None when there were several.
    user: str | None
    last: float
    # When the next attempt may be looked at.
    free: float


class Slowdown:
    """Knows every client that has failed lately; a client is any octets that name it. `first` is in seconds."""

    def __init__(self, first: float = 1.0) -> None:
        self._first = first
        self._clients: OrderedDict[bytes, _Failures] = OrderedDict()

    def wait(self, client: bytes, now: float) -> float | None:
        """How long an attempt that comes now waits, in seconds; None when too many are in the row already."""
        failures = self._clients.get(client)
        if failures is None or now - failures.last >= _FORGOTTEN_SECONDS:
            return 0.0
        wait = max(0.0, failures.free - now)
        if wait > _LONGEST_SECONDS:
            return None
        failures.free = max(failures.free, now) + self._delay(failures)
        return wait

    def failed(self, client: bytes, user: str, now: float) -> None:
        """An attempt of this client to be this user was refused."""
        user = user[:_LONGEST_NAME]
        failures = self._clients.pop(client, None)
        if failures is None or now - failures.last >= _FORGOTTEN_SECONDS:
            failures = _Failures(0, user, now, now)
        failures.count += 1
        if failures.user != user:
            failures.user = None
        failures.last = now
        failures.free = max(failures.free, now + self._delay(failures))
        self._clients[client] = failures
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)

    def succeeded(self, client: bytes, user: str) -> None:
        """An attempt of this client to be this user was accepted.

        Who has one password must not guess those of others the faster for it.
        """
        failures = self._clients.get(client)
        if failures is not None and failures.user == user:
            del self._clients[client]

    def _delay(self, failures: _Failures) -> float:
        # Nobody bounds the count, and a power of it is soon no number any more.
        return float(min(_LONGEST_SECONDS, self._first * 2 ** min(failures.count - 1, 16)))
