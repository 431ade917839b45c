"""The condition: what the master alone knows about the health of the relay, as numbers and words.

Which processes are missing and why, how often they came again, and what became of deliveries in the recent past.
The numbers stand in the master's slot too, for those who may read the counters only. Refuses to judge.
"""

from collections.abc import Sequence

import msgspec

from relayd.base import counters, units
from relayd.base.counters import Slot
from relayd.base.health import Facts
from relayd.base.sections import Health
from relayd.master.children import Child
from relayd.master.recent import Recent

# To whole seconds.
_ROUND_UP = 0.999


class Condition(msgspec.Struct, frozen=True):
    """What is told: see `base.health.Facts`, whose words these are."""

    missing: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    seconds: float = 0.0
    restarts: int = 0
    recent_failures: int = 0
    failures: int = 0
    failing_seconds: float = 0.0

    def facts(self) -> Facts:
        """What can be judged of it alone."""
        return Facts(
            missing=self.missing,
            stuck=self.stuck,
            seconds=self.seconds,
            restarts=self.restarts,
            recent_failures=self.recent_failures,
            failures=self.failures,
            failing_seconds=self.failing_seconds,
        )


class Conditions:
    """Remembers the recent past; `slots` are those of all processes that were and are, the master's own first."""

    def __init__(self, now: float, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._recent = Recent(now, *self._deliveries())
        self._slot = slots[0]
        # What the last process of a role died of.
        self._reasons: dict[str, str] = {}

    def died(self, now: float, role: str, reason: str) -> None:
        """A child died and will come again."""
        self._recent.restarted(now)
        self._reasons[role] = reason

    def now(
        self,
        now: float,
        limits: Health,
        wanted: Sequence[Child],
        running: Sequence[Child],
        stuck: Sequence[str],
    ) -> Condition:
        """How it stands; `wanted` are those that should work now. Cheap enough for each turn of the master."""
        past = self._recent.past(now, limits, *self._deliveries())
        away = missing(wanted, running)
        self._slot.set("heartbeat", int(now * 1000))
        self._slot.set("missing", len(away))
        self._slot.set("recent_restarts", past.restarts)
        self._slot.set("recent_failures", past.recent_failures)
        self._slot.set("failures", past.failures)
        self._slot.set("failing_seconds", int(past.failing_seconds))
        return Condition(tuple(self._in_words(child, now) for child in away), tuple(stuck), *past)

    def _deliveries(self) -> tuple[int, int]:
        """Recipients that were delivered, and attempts that failed."""
        return counters.total(self._slots, "delivered"), counters.total(self._slots, "attempts_failed")

    def _in_words(self, child: Child, now: float) -> str:
        said = f"{child.role} is missing"
        reason = self._reasons.get(child.role, "")
        if reason:
            times = f" {child.deaths} times in a row" if child.deaths > 1 else ""
            said += f": it died{times} ({reason})"
        if child.pid:
            return f"{said}{' and' if reason else ': it'} is starting"
        if child.due is not None:
            again = units.in_words(child.due - now + _ROUND_UP)
            return f"{said}{' and' if reason else ': it'} starts again in {again}"
        return said


def missing(wanted: Sequence[Child], running: Sequence[Child]) -> list[Child]:
    """Those whose role nobody fills now; one that is being replaced fills it until the next one does.

    Of a role that only one can have, that one goes on with what it has begun, and the next one waits for it.
    """
    filled = {child.role for child in running if child.is_ready and (child.retire_by is None or child.is_single)}
    return [child for child in wanted if child.role not in filled]
