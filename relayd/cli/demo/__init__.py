"""`relayd demo`: one mail's whole way on this machine, with a network that exists only for ten seconds.

A small DNS and two receiving servers stand on loopback; the relay between them is the real one, started by the
real command. Needs no root and no network. It fails as the relay fails, with the log printed.
"""

import argparse
import asyncio
import os
import pwd
import sys
import tempfile
from pathlib import Path

from relayd.cli.demo.show import Failed, Stage, show
from relayd.cli.output import complain


def run(arguments: argparse.Namespace) -> int:
    """See the module; -c and --spool mean nothing here, since nothing of the machine's own is touched."""
    with tempfile.TemporaryDirectory(prefix="relayd-demo-") as folder:
        spool = Path(folder) / "spool"
        spool.mkdir()
        if os.geteuid() == 0:
            # Even here the relay does not run as root; any user does that owns nothing of value.
            nobody = pwd.getpwnam("nobody")
            os.chmod(folder, 0o755)
            os.chown(spool, nobody.pw_uid, nobody.pw_gid)
        try:
            asyncio.run(show(Stage(Path(folder), spool, with_colours=sys.stdout.isatty())))
        except Failed as error:
            complain(str(error))
            return 1
    return 0
