"""The vigil: all that the master does about health beside its work, in one look every few seconds.

It has the watch look at the children, keeps the condition that is reported, and tells the service manager how it
stands. Refuses to start and stop anything itself.
"""

import math
import os
from collections.abc import Callable, Sequence

from relayd.base import health
from relayd.base.counters import Slot
from relayd.base.events import Event
from relayd.base.sections import Health
from relayd.master.children import Child
from relayd.master.condition import Condition, Conditions, missing
from relayd.master.notify import Notify
from relayd.master.watch import Watch

# So long without any worker, or without delivery, and the service manager's watchdog hears no more from us: what
# the master does against it does not help.
_HOPELESS_SECONDS = 120.0


class Vigil:
    """`due` is when to look again, on the monotonic clock."""

    def __init__(
        self,
        now: float,
        slots: Sequence[Slot],
        write: Callable[[Event], None],
        notify: Notify,
    ) -> None:
        """`slots` are all of the board, the master's own first; `write` is the log's."""
        self._watch = Watch(write, now)
        self._conditions = Conditions(now, slots)
        self._notify = notify
        # The first beat is due at once: before an upgrade, the last one may have been a while ago.
        self._beat_at = -math.inf
        self._hopeful_at = now
        self._was_ready = False

    @property
    def due(self) -> float:
        """When to look again."""
        every = self._notify.beat_every
        return self._watch.due if every is None else min(self._watch.due, self._beat_at + every)

    def look(self, now: float, limits: Health, wanted: Sequence[Child], running: Sequence[Child]) -> None:
        """Whenever the master comes round; it does what is due."""
        is_due = now >= self.due
        # One that waits for its word does nothing, and need not show progress.
        self._watch.look(now, [child for child in running if child.has_begun or not child.is_waiting])
        if is_due:
            found = health.judge(self.condition(now, limits, wanted, running).facts(), limits)
            if not self._was_ready:
                self._notify.starting()
            self._notify.status(health.in_words(found))
            self._beat(now, wanted, running)

    def condition(
        self, now: float, limits: Health, wanted: Sequence[Child], running: Sequence[Child]
    ) -> Condition:
        """How it stands now."""
        return self._conditions.now(now, limits, wanted, running, list(self._watch.stuck.values()))

    def died(self, now: float, child: Child, reason: str) -> None:
        """A child died and comes again."""
        self._conditions.died(now, child.role, reason)

    def ready(self) -> None:
        """Everything runs, for the first time, or again after a reload, whatever came of that."""
        self._was_ready = True
        self._notify.ready(os.getpid())

    def reloading(self, now: float) -> None:
        """A reload begins."""
        self._notify.reloading(now)

    def stopping(self) -> None:
        """The end begins."""
        self._notify.stopping()

    def _beat(self, now: float, wanted: Sequence[Child], running: Sequence[Child]) -> None:
        away = missing(wanted, running)
        workers = [child for child in wanted if child.is_worker]
        if any(child not in away for child in workers) and not any(child.role == "delivery" for child in away):
            self._hopeful_at = now
        every = self._notify.beat_every
        if every is not None and now >= self._beat_at + every:
            self._beat_at = now
            if now - self._hopeful_at < _HOPELESS_SECONDS:
                self._notify.beat()
