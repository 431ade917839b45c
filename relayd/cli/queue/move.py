"""`relayd queue flush`, `hold` and `release`: what `mv` between the folders of the spool does, by command.

A running delivery process notices within a second. An attempt under way ends first, and its result is recorded.
"""

import argparse
from datetime import UTC, datetime

from relayd.base.config import Config
from relayd.cli.output import complain, plural
from relayd.cli.queue.select import complain_of_none, selected
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
    unknown = complain_of_none(arguments, found)
    if not found:
        return 1
    names = []
    for item in found:
        if item.state in sources and not item.reason:
            names.append(item.name)
        elif item.id in arguments.targets:
            where = item.reason or f"it is in {item.state}/"
            complain(f"{item.id} is left as it is: {where}")
    # What has gone on meanwhile is delivered, or somebody else has moved it.
    moved = move(layout, Disk(), names, sources, target)
    print(f"{plural(moved, 'message')} {told}")
    return 0 if moved and not unknown else 1
