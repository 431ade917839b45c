"""Summaries: messages whose failures are told together, collected for a moment by originator.

Refuses to know the spool: what it has are messages whose outcomes are in their journals, so that it may be
forgotten at any time, and what is owed comes again.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relayd.deliver.account import Account
from relayd.deliver.digest import Digests


class Summaries:
    """`later` calls back after so many seconds; `tell` is handed what was collected for one originator."""

    def __init__(
        self,
        digests: Digests,
        collect: float,
        later: Callable[[float, Callable[[], None]], object],
        tell: Callable[[Sequence[Account], str], None],
    ) -> None:
        self._digests = digests
        self._collect = collect
        self._later = later
        self._tell = tell
        self._collected: dict[str, list[Account]] = {}

    def add(self, account: Account, originator: str) -> None:
        """One more for the next summary."""
        collected = self._collected.setdefault(originator, [])
        collected.append(account)
        if len(collected) == 1:
            self._later(self._collect, lambda: self._go_out(originator))

    def _go_out(self, originator: str) -> None:
        self._digests.summarised(originator, datetime.now(UTC))
        self._tell(self._collected.pop(originator), originator)
