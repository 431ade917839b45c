"""Orders: how an operator's word reaches the process that has the queue, or this one where there is none.

The delivery process carries them out where a relay runs, so that an attempt under way ends first. Where none runs,
this process does, under the same lock, and begins and ends as the delivery process does: what a crash left half
done is finished before anything is taken away.
"""

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from relayd.base import events
from relayd.base.channel import Operate
from relayd.base.config import Config
from relayd.base.line import render
from relayd.deliver import lock, retry
from relayd.deliver.digest import Digests
from relayd.deliver.limits import Limits
from relayd.deliver.notices import Notices
from relayd.deliver.operator import Operator
from relayd.deliver.telling import Telling
from relayd.master import control
from relayd.master.control import NotRunning, OperatePlease
from relayd.spool.layout import Layout
from relayd.spool.queue import Queue

_LOCK_SECONDS = 1.0


class Orders:
    """`complain` is told what the spool has to report, where no relay writes it into its log."""

    def __init__(self, config: Config, complain: Callable[[str], None]) -> None:
        self._config = config
        self._complain = complain
        self._operator: Operator | None = None
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def carry_out(self, order: OperatePlease) -> tuple[str, ...]:
        """One answer for each ID; raises OSError where this process is to do it and cannot read the spool."""
        if self._operator is None:
            try:
                answers = control.order(self._config.process.pid_file, order)
                return answers.results or (answers.failure,) * len(order.ids)
            except NotRunning:
                pass
            try:
                self._operator = self._begin()
            except lock.Held as error:
                return (str(error),) * len(order.ids)
        return self._operator.carry_out(Operate(0, order.verb, order.ids, order.recipient, order.notify))

    def _begin(self) -> Operator:
        layout = Layout(str(self._config.spool.directory))
        with contextlib.ExitStack() as ends:
            ends.enter_context(lock.held(layout.delivery_lock, _LOCK_SECONDS))
            queue = Queue(layout, self._report, longest=retry.longest(self._config.delivery.retry))
            queue.recover()
            ends.callback(queue.close)
            self._ends = ends.pop_all()
        telling = Telling(lambda event: None, lambda name, count: None)
        return Operator(queue, Notices(self._config, queue), telling, Digests(Limits().notices))

    def _report(self, event: events.Event) -> None:
        self._complain(render(event, "text", datetime.now(UTC), os.getpid()).decode().rstrip())
