"""A standby: how long one worker leaves a connection to the others. Pure but for the tally; it is given the time.

Where each worker has a processor of its own, the delivery process shares one of these: that of the last worker,
which therefore leaves connections to the others. Sessions in one worker are committed together, and a processor
that does one thing does more of it: twenty kept sessions so take a tenth less processor time a message, and a
twelfth more mail gets through. What the others have no time for it takes after a moment; and where connections
come all the time, or the others have many more sessions than it has, it leaves nothing.
"""

from relayd.base.tally import Hand

# More than a worker takes to accept what a client opens at once, and less than a client would notice.
_LEAVING_SECONDS = 0.01
# So many connections are left in a row, and one more each second; with so many more sessions another has many.
_FEW = 32
_PAUSE_SECONDS = 1.0


def leave_nothing(now: float) -> float:
    """The word of any other worker, in seconds as `Standby.wait`."""
    return 0.0


class Standby:
    """One worker's, which knows by its hand on the tally how many sessions the others have."""

    def __init__(self, tally: Hand) -> None:
        self._tally = tally
        self._left = 0
        # When one more could last be left.
        self._since = 0.0

    def wait(self, now: float) -> float:
        """How long a connection that waits now is left to the others, in seconds; 0.0 for one that is not left."""
        if pauses := int((now - self._since) / _PAUSE_SECONDS):
            self._left = max(0, self._left - pauses)
            self._since = now
        if self._left == _FEW or self._tally.lead() >= _FEW:
            return 0.0
        self._left += 1
        return _LEAVING_SECONDS
