"""`relayd queue pause` and `resume`: deliveries stop, or go on; mail is taken in meanwhile.

A pause outlives restarts. `resume` also makes due what waited for it.
"""

import argparse
from datetime import UTC, datetime

from relayd.base.config import Config
from relayd.cli.output import complain
from relayd.cli.user import become
from relayd.spool.disk import Disk
from relayd.spool.layout import Layout
from relayd.spool.move import move
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.view import View


def run(config: Config, arguments: argparse.Namespace) -> int:
    """See the module."""
    become(config)
    layout = Layout(str(config.spool.directory))
    layout.check()
    pause = Pause(layout)
    what = (arguments.domain or EVERYTHING).lower()
    said = "all deliveries" if what == EVERYTHING else f"deliveries to {what}"
    if arguments.queue_command == "pause":
        pause.add(what)
        print(f"{said} are paused; mail is still accepted")
        return 0
    before = pause.current()
    if not before or (what != EVERYTHING and what not in before):
        complain(f"{said} are not paused")
        return 1
    pause.discard(what)
    for item in View(config.spool.directory).items(datetime.now(UTC)):
        if item.state == "cur" and (what == EVERYTHING or what in item.domains):
            move(layout, Disk(), item.name, ("cur",), "new")
    print(f"{said} go on")
    return 0
