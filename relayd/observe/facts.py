"""Facts: what a scrape tells, from the counters and the last look at the spool. Values, and how they are gathered.

Refuses to wait for anything: what it reads is in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relayd.base import health
from relayd.base.counters import Board, Slot
from relayd.base.sections import Config
from relayd.observe.look import Look
from relayd.observe.looking import Looking

# A look at a small queue is never so old, nor one at a large queue so many times as old as it took; see `looking`.
_LOOK_SECONDS = 120.0
_LOOK_TIMES = 25.0


@dataclass(frozen=True, slots=True)
class Facts:
    """`slots` are a copy, `look_age` is in seconds, and `findings` are what is wrong, the worst first."""

    version: str
    slots: Sequence[Slot]
    look: Look | None
    look_age: float
    floor: int
    findings: Sequence[str]


class Gathering:
    """What it takes to gather them; the clock is monotonic, in seconds."""

    def __init__(self, config: Config, board: Board, looking: Looking, version: str) -> None:
        self._config = config
        self._board = board
        self._looking = looking
        self._version = version
        self._slots: list[Slot] = []

    def facts(self, now: float) -> Facts:
        """As it stands at `now`."""
        # While numbers are on their way from one slot to another, those of before are the truth.
        self._slots = self._board.copy() or self._slots
        look, age = self._looking.last, self._looking.age()
        return Facts(
            version=self._version,
            slots=self._slots,
            look=look,
            look_age=age,
            floor=self._config.spool.minimum_free,
            findings=self._findings(look, age, now),
        )

    def _findings(self, look: Look | None, age: float, now: float) -> list[str]:
        if not self._slots:
            return ["the counters cannot be read"]
        master = self._slots[0]
        missing, stuck, unreadable = [], [], "" if look is None else look.trouble
        if count := master.get("missing"):
            missing.append(f"{count} process{'' if count == 1 else 'es'} missing: relayd status says which")
        beat = master.get("heartbeat") / 1000
        if beat and now - beat >= health.HUNG_SECONDS:
            stuck.append(f"the master has made no progress for {now - beat:.0f}s")
        calls = [slot.get(name) for slot in self._slots for name in ("disk_since", "large_since")]
        waits = [now - since / 1000 for since in calls if since]
        if waits and max(waits) >= health.HUNG_SECONDS:
            stuck.append(f"a process has waited for the disk for {max(waits):.0f}s")
        if age >= _LOOK_SECONDS + (0.0 if look is None else _LOOK_TIMES * look.seconds):
            unreadable = f"the spool could not be looked at for {age:.0f}s; its disk may hang"
        found = health.Facts(
            missing=missing,
            stuck=stuck,
            restarts=master.get("recent_restarts"),
            recent_failures=master.get("recent_failures"),
            failures=master.get("failures"),
            failing_seconds=float(master.get("failing_seconds")),
            waiting=None if look is None else look.states.get("new", 0) + look.states.get("cur", 0),
            oldest_due=None if look is None else look.oldest_due_s,
            free=None if look is None else look.free,
            floor=self._config.spool.minimum_free,
            inodes=None if look is None else look.inodes,
            failed=0 if look is None else look.states.get("failed", 0),
            unreadable=unreadable,
        )
        return health.judge(found, self._config.health)
