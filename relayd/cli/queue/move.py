"""`relayd queue flush`, `hold` and `release`: what `mv` between the folders of the spool does, by command.

A running delivery process notices within a second. An attempt under way ends first, and its result is recorded.
"""

import argparse
from datetime import UTC, datetime

from relayd.base.config import Config
from relayd.cli.output import complain, plural
from relayd.cli.queue.select import selected
from relayd.cli.user import become
from relayd.spool.disk import Disk
from relayd.spool.layout import Layout
from relayd.spool.move import move
from relayd.spool.view import View

# From which folders to which, and how it is told.
_MOVES = {
    "flush": (("cur",), "new", "due now"),
    "hold": (("new", "cur"), "hold", "on hold"),
    "release": (("hold",), "new", "released, and due now"),
}


def run(config: Config, arguments: argparse.Namespace) -> int:
    """See the module."""
    sources, target, told = _MOVES[arguments.queue_command]
    become(config)
    layout = Layout(str(config.spool.directory))
    found = list(selected(View(config.spool.directory), arguments, datetime.now(UTC)))
    if not found:
        complain("no such message")
        return 1
    moved = 0
    for item in found:
        if item.state in sources and not item.reason:
            moved += move(layout, Disk(), item.name, sources, target)
        elif arguments.targets and item.id in arguments.targets:
            where = item.reason or f"it is in {item.state}/"
            complain(f"{item.id} is left as it is: {where}")
    print(f"{plural(moved, 'message')} {told}")
    return 0 if moved else 1
