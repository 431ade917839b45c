"""`relayd reload`: have the configuration read anew, and wait until every process is one that works by it."""

import argparse
import os

from relayd.base.mistake import ConfigError
from relayd.cli.arguments import configuration
from relayd.cli.output import complain
from relayd.master import control
from relayd.master.control import NotRunning

NOT_RUNNING = 3


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    try:
        pid_file = configuration(arguments).process.pid_file
    except ConfigError as error:
        complain(f"not reloaded: {error}")
        return 1
    try:
        outcome = control.reload(pid_file)
    except NotRunning as error:
        # It is found by what the file says now, and where nothing was ever started, something else may run.
        other = "; one that runs with another [spool] directory or pid_file: restart needed"
        complain(f"{error}{'' if os.path.isdir(pid_file.parent) else other}")
        return NOT_RUNNING
    for warning in outcome.warnings:
        complain(f"warning: {warning}")
    if not outcome.ok:
        complain(f"not reloaded: {outcome.reason}")
        return 1
    print("relayd has reloaded its configuration")
    return 0
