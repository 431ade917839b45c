"""`relayd stop`: ask the master to end, and wait until it has."""

import argparse
import contextlib
import os
import select

import psutil

from relayd.cli.arguments import configuration
from relayd.cli.output import complain
from relayd.master import control, pidfile
from relayd.master.control import NotRunning, StopPlease

NOT_RUNNING = 3
# What the master adds to stop_timeout before it kills, and a little more.
_MARGIN_SECONDS = 15.0


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    config = configuration(arguments)
    master = pidfile.running(config.process.pid_file)
    try:
        report = control.ask(config.process.pid_file, StopPlease())
        master = psutil.Process(report.pid)
    except NotRunning:
        if master is None:
            print("relayd is not running")
            return NOT_RUNNING
        # It is there and does not listen: it is starting, or it hangs. A signal still counts.
        with contextlib.suppress(psutil.NoSuchProcess):
            master.terminate()
    except psutil.NoSuchProcess:
        master = None
    if master is not None and not _ends(master, config.process.stop_timeout + _MARGIN_SECONDS):
        complain(f"the master (pid {master.pid}) does not end; its log may say why")
        return 1
    print("relayd has stopped")
    return 0


def _ends(process: psutil.Process, seconds: float) -> bool:
    """Wait for the end of a process that is no child of ours; it counts before anybody has reaped it."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # What has the pid now may be another process; this one is gone then.
        if not process.is_running():
            return True
        ended, _, _ = select.select([fd], [], [], seconds)
        return bool(ended)
    finally:
        os.close(fd)
