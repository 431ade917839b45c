"""A share: how much of a destination's mail may leave by an exchanger that is only to be measured. Pure.

At most 2 % of its transactions since the start of the process, but the first eight whenever they are wanted: so
the first messages to a new destination learn which of its exchangers is the fastest, and rare mail does too.
"""

from dataclasses import dataclass

_SHARE = 0.02
_EARLY = 8
_MOST_DESTINATIONS = 10_000


@dataclass(slots=True)
class Share:
    """One destination's transactions so far, and how many of them explored."""

    transactions: int = 0
    explored: int = 0

    @property
    def may_explore(self) -> bool:
        """Whether one more may."""
        return self.explored + 1 <= max(_EARLY, _SHARE * self.transactions)


class Shares:
    """By destination, bounded in number: the one that was asked for longest ago is forgotten first."""

    def __init__(self) -> None:
        self._all: dict[str, Share] = {}

    def of(self, destination: str) -> Share:
        """The destination's share, to be counted in."""
        share = self._all.pop(destination, None) or Share()
        self._all[destination] = share
        if len(self._all) > _MOST_DESTINATIONS:
            del self._all[next(iter(self._all))]
        return share
