"""`relayd stop`: ask the master to end, and wait until it has."""

import argparse
import contextlib
import os
import select
import signal
from pathlib import Path

from relayd.base.sections import Process
from relayd.cli.arguments import configuration
from relayd.cli.output import complain
from relayd.master import control, pidfile
from relayd.master.control import NotRunning, StopPlease

NOT_RUNNING = 3
# What the master adds to stop_timeout before it kills, and a little more.
_MARGIN_SECONDS = 15.0


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    return stop(configuration(arguments).process)


def stop(
    process: Process, *, answer_seconds: float = control.ANSWER_SECONDS, margin_seconds: float = _MARGIN_SECONDS
) -> int:
    """Ask the master, which answers within a time, and ends within its own time and a margin; the exit status."""
    pid_file = process.pid_file
    try:
        pid = control.ask(pid_file, StopPlease(), seconds=answer_seconds).pid
        master = os.pidfd_open(pid)
    except NotRunning:
        found = signalled(pid_file, signal.SIGTERM)
        if found is None:
            print("relayd is not running")
            return NOT_RUNNING
        pid, master = found
    except ProcessLookupError:
        # It was quicker.
        print("relayd has stopped")
        return 0
    try:
        # It counts before anybody has reaped it.
        ended, _, _ = select.select([master], [], [], process.stop_timeout + margin_seconds)
    finally:
        os.close(master)
    if not ended:
        complain(f"the master (pid {pid}) does not end; its log may say why")
        return 1
    print("relayd has stopped")
    return 0


def signalled(pid_file: Path, number: signal.Signals) -> tuple[int, int] | None:
    """Send a signal to the master, also to one that starts or hangs. Give its pid and a pidfd.

    None is no master, and nothing was sent.
    """
    pid = pidfile.running(pid_file)
    if pid is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        master = os.pidfd_open(pid)
        try:
            # What is held here is one process for good; asked again, since the pid could be another's by then.
            if pidfile.running(pid_file) == pid:
                signal.pidfd_send_signal(master, number)
                return pid, master
        except BaseException:
            os.close(master)
            raise
        os.close(master)
    return None
