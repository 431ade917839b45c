"""`relayd queue remove` and `fail`: the end of a message, or of one recipient, by an operator's word.

`fail`, and `remove --notify`, tell the sender. An attempt under way ends first, and its result is recorded.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from relayd.base.config import Config
from relayd.base.mistake import ConfigError
from relayd.cli.output import complain, plural
from relayd.cli.queue.orders import Orders
from relayd.cli.queue.select import complain_of_none, selected
from relayd.cli.user import become
from relayd.deliver.operator import BUSY, DONE, GONE
from relayd.master.control import OperatePlease
from relayd.spool.disk import Disk
from relayd.spool.ids import is_id
from relayd.spool.layout import Layout
from relayd.spool.move import move
from relayd.spool.view import Item, View

# One order fits into a datagram.
_AT_ONCE = 200
_STEP_SECONDS = 0.5


def run(config: Config, arguments: argparse.Namespace) -> int:
    """See the module."""
    is_removal = arguments.queue_command == "remove"
    if not is_removal and not is_id(arguments.targets[0]):
        raise ConfigError(f'"{arguments.targets[0]}" is no ID; "relayd queue list" shows them')
    become(config)
    items = [
        item
        for item in selected(View(config.spool.directory), arguments, datetime.now(UTC))
        if item.state != "failed" and not item.reason
    ]
    unknown = complain_of_none(arguments, items)
    if not items:
        return 1
    if is_removal and not arguments.yes and not _is_meant(items):
        print("nothing was removed")
        return 1
    if is_removal:
        # So that no further attempt begins while one is under way.
        layout = Layout(str(config.spool.directory))
        move(layout, Disk(), [item.name for item in items], ("new", "cur"), "hold")
    done = _carry_out(config, arguments, [item.id for item in items])
    print(f"{plural(done, 'message')} {'removed' if is_removal else 'given up'}")
    return 0 if done == len(items) and not unknown else 1


def _is_meant(items: Sequence[Item]) -> bool:
    print(f"remove {plural(len(items), 'message')}? Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"


def _carry_out(config: Config, arguments: argparse.Namespace, ids: Sequence[str]) -> int:
    """Give the order for all of them until none is in flight; for how many it was carried out."""
    done = 0
    waiting = list(ids)
    is_told = False
    with Orders(config, complain) as orders:
        while waiting:
            busy: list[str] = []
            for first in range(0, len(waiting), _AT_ONCE):
                group = tuple(waiting[first : first + _AT_ONCE])
                for message_id, result in zip(group, orders.carry_out(_order(arguments, group)), strict=True):
                    if result == BUSY:
                        busy.append(message_id)
                    elif result == DONE:
                        done += 1
                    else:
                        complain(f"{message_id}: {result}{_where_it_is(arguments, result)}")
            if busy and not is_told:
                complain(f"{plural(len(busy), 'attempt')} under way; waiting for the end")
                is_told = True
            if busy:
                time.sleep(_STEP_SECONDS)
            waiting = busy
    return done


def _order(arguments: argparse.Namespace, ids: tuple[str, ...]) -> OperatePlease:
    recipient = getattr(arguments, "recipient", None)
    return OperatePlease(
        verb=arguments.queue_command,
        ids=ids,
        recipient=None if recipient is None else recipient.strip("<>"),
        notify=getattr(arguments, "notify", False),
    )


def _where_it_is(arguments: argparse.Namespace, result: str) -> str:
    return "; it stays in hold/" if arguments.queue_command == "remove" and result != GONE else ""
