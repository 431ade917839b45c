"""`relayd upgrade`: put this code in the place of the one that runs, without closing the port.

The new code is the one that this command is part of, wherever it stands, with the interpreter that runs it. The
command ends when everything that runs is new, or when everything is as it was.
"""

import argparse

from relayd import __version__
from relayd.base.mistake import ConfigError
from relayd.cli.arguments import configuration
from relayd.cli.output import complain
from relayd.master import control, handover
from relayd.master.control import NotRunning

_FAILED = 1
_NOT_RUNNING = 3


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    try:
        pid_file = configuration(arguments).process.pid_file
    except ConfigError as error:
        complain(f"not upgraded: {error}")
        return _FAILED
    try:
        outcome = control.upgrade(pid_file, handover.own_command())
    except NotRunning as error:
        complain(str(error))
        return _NOT_RUNNING
    for warning in outcome.warnings:
        complain(f"warning: {warning}")
    if not outcome.ok:
        complain(f"not upgraded: {outcome.reason}")
        return _FAILED
    print(f"relayd runs {__version__} now, in the same process")
    return 0
