"""The door: who gets in, when one client has many sessions or the machine is short of something.

No client may have more sessions than the configured limit, nor more in this worker than there is room left for: so
one client alone gets half of what there is, and who has none gets in as long as there is room at all. When memory
is short, only clients without a session get in; when it is at its end, nobody does. Those being served go on. Pure
but for the tally; the figures are given.
"""

import sys
from dataclasses import dataclass

from relayd.base.tally import Hand
from relayd.receive.policy import Peer
from relayd.smtp.reply import Reply, reply

# Shares of the machine's memory that are available.
_SHORT_OF_MEMORY = 0.04
_OUT_OF_MEMORY = 0.015


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the client hears, and what the log says."""

    reply: Reply
    reason: str


class Door:
    """One worker's; `most` is how many sessions it certainly has the descriptors for."""

    def __init__(self, hostname: str, tally: Hand, per_client: int) -> None:
        self._hostname = hostname
        self._tally = tally
        self._per_client = per_client or sys.maxsize
        self._memory = 1.0
        self.most = sys.maxsize

    def look(self, memory: float) -> None:
        """How much of the machine's memory is available now, as a share."""
        self._memory = memory

    def is_full(self, open_sessions: int) -> bool:
        """Whether nobody gets in, whoever it is: this needs no name."""
        return open_sessions >= self.most or self._memory < _OUT_OF_MEMORY

    def full(self) -> Refusal:
        """What is said then."""
        if self._memory < _OUT_OF_MEMORY:
            return self._short("no memory for more sessions")
        return self._short("too many sessions for the limit on open files")

    def refusal(self, peer: Peer, open_sessions: int) -> Refusal | None:
        """Why this client does not get in."""
        if self.is_full(open_sessions):
            return self.full()
        held = self._tally.sessions(peer.client)
        if held >= self._per_client:
            text = f"{self._hostname} Error: too many connections from {peer.address}"
            return Refusal(reply(421, "4.7.0", text), f"more than {self._per_client} sessions of one client")
        if held and self._memory < _SHORT_OF_MEMORY:
            return self._short("memory is short, and the client has a session")
        if held and self._tally.own_sessions(peer.client) > self.most - open_sessions:
            return self._short("sessions are short, and the client has more than its share")
        return None

    def opened(self, peer: Peer, now: float) -> None:
        """A session began."""
        self._tally.opened(peer.client, now)

    def closed(self, peer: Peer) -> None:
        """It is over."""
        self._tally.closed(peer.client)

    def _short(self, reason: str) -> Refusal:
        return Refusal(reply(421, "4.3.2", f"{self._hostname} Error: too many connections"), reason)
