"""`relayd queue pause` and `resume`: deliveries stop, or go on; mail is taken in meanwhile.

A pause outlives restarts. `resume` also makes due what waited for a domain that was paused; where everything was,
nothing has lost its turn, and what waits for another reason goes on to.
"""

import argparse
from datetime import UTC, datetime

from relayd.base.config import Config
from relayd.base.mistake import ConfigError
from relayd.cli.output import complain
from relayd.cli.user import become
from relayd.smtp.address import is_domain
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
    what = EVERYTHING if arguments.domain is None else _domain(arguments.domain)
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
    domains = before - {EVERYTHING} if what == EVERYTHING else {what}
    items = View(config.spool.directory).items(datetime.now(UTC)) if domains else ()
    waiting = (item.name for item in items if item.state == "cur" and domains.intersection(item.domains))
    move(layout, Disk(), waiting, ("cur",), "new")
    print(f"{said} go on")
    return 0


def _domain(written: str) -> str:
    if not is_domain(written) and not (written[:1] == "[" and written[-1:] == "]"):
        raise ConfigError(f'"{written}" is no domain')
    return written.lower()
