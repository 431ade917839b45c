"""`relayd queue remove` and `fail`: the end of a message, or of one recipient, by an operator's word.

The delivery process does it where one runs, so that an attempt under way ends first; else this command does, under
the same lock. `fail`, and `remove --notify`, tell the sender.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relayd.base.channel import Operate
from relayd.base.config import Config
from relayd.cli.output import complain, plural
from relayd.cli.queue.select import selected
from relayd.cli.user import become
from relayd.deliver import lock, retry
from relayd.deliver.notices import Notices
from relayd.deliver.operator import BUSY, DONE, Operator
from relayd.master import control
from relayd.master.control import NotRunning, OperatePlease
from relayd.spool.disk import Disk
from relayd.spool.layout import Layout
from relayd.spool.move import move
from relayd.spool.queue import Queue
from relayd.spool.view import Item, View

# One order fits into a datagram.
_AT_ONCE = 200
_STEP_SECONDS = 0.5
_LOCK_SECONDS = 1.0

Order = Callable[[OperatePlease], tuple[str, ...]]


def run(config: Config, arguments: argparse.Namespace) -> int:
    """See the module."""
    become(config)
    items = [
        item
        for item in selected(View(config.spool.directory), arguments, datetime.now(UTC))
        if item.state != "failed" and not item.reason
    ]
    if not items:
        complain("no such message in the queue")
        return 1
    is_removal = arguments.queue_command == "remove"
    if is_removal and not arguments.yes and not _is_meant(items):
        print("nothing was removed")
        return 1
    if is_removal:
        # So that no further attempt begins while one is under way.
        layout = Layout(str(config.spool.directory))
        for item in items:
            move(layout, Disk(), item.name, ("new", "cur"), "hold")
    return _carry_out(config, arguments, [item.id for item in items])


def _is_meant(items: Sequence[Item]) -> bool:
    print(f"remove {plural(len(items), 'message')}? Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"


def _carry_out(config: Config, arguments: argparse.Namespace, ids: Sequence[str]) -> int:
    done = 0
    waiting = list(ids)
    is_told = False
    while waiting:
        busy: list[str] = []
        for first in range(0, len(waiting), _AT_ONCE):
            group = tuple(waiting[first : first + _AT_ONCE])
            for message_id, result in zip(group, _order(config, arguments, group), strict=True):
                if result == BUSY:
                    busy.append(message_id)
                elif result == DONE:
                    done += 1
                else:
                    complain(f"{message_id}: {result}")
        if busy and not is_told:
            complain(f"{plural(len(busy), 'attempt')} under way; waiting for the end")
            is_told = True
        if busy:
            time.sleep(_STEP_SECONDS)
        waiting = busy
    print(f"{plural(done, 'message')} {'removed' if arguments.queue_command == 'remove' else 'given up'}")
    return 0 if done == len(ids) else 1


def _order(config: Config, arguments: argparse.Namespace, ids: tuple[str, ...]) -> tuple[str, ...]:
    verb = arguments.queue_command
    order = OperatePlease(
        verb=verb,
        ids=ids,
        recipient=getattr(arguments, "recipient", None),
        notify=getattr(arguments, "notify", False),
    )
    try:
        answers = control.order(config.process.pid_file, order)
    except NotRunning:
        return _do_it_here(config, order)
    return answers.results or (answers.failure,) * len(ids)


def _do_it_here(config: Config, order: OperatePlease) -> tuple[str, ...]:
    layout = Layout(str(config.spool.directory))
    try:
        with lock.held(layout.delivery_lock, _LOCK_SECONDS):
            queue = Queue(layout, lambda event: None, longest=retry.longest(config.delivery.retry))
            operator = Operator(queue, Notices(config, queue), lambda event: None)
            results = operator.carry_out(Operate(0, order.verb, order.ids, order.recipient, order.notify))
            queue.tidy()
            return results
    except lock.Held as error:
        return (str(error),) * len(order.ids)
