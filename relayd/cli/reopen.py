"""`relayd reopen`: have the log file opened anew, in all processes, after it was renamed.

It is what SIGUSR1 does. It reaches nobody but the master, whatever stands in the pid file: root may run it for a
relay whose user is not trusted with root's signals.
"""

import argparse
import os
import signal

from relayd.cli.arguments import configuration
from relayd.cli.output import complain
from relayd.cli.stop import NOT_RUNNING, signalled


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    found = signalled(configuration(arguments).process.pid_file, signal.SIGUSR1)
    if found is None:
        complain("relayd is not running")
        return NOT_RUNNING
    _, master = found
    os.close(master)
    return 0
