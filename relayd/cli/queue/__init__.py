"""`relayd queue …`: looking at the messages that wait, and steering them.

Looking reads the spool itself and needs no running relay. Steering moves files, which is what `mv` does too, or
goes through the delivery process where there is one.
"""

import argparse
import importlib
from collections.abc import Callable
from typing import cast

from relayd.base.config import Config
from relayd.cli.arguments import configuration

_MODULES = {
    "list": "list",
    "show": "show",
    "flush": "move",
    "hold": "move",
    "release": "move",
    "remove": "end",
    "fail": "end",
    "pause": "pause",
    "resume": "pause",
}


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    module = importlib.import_module(f"relayd.cli.queue.{_MODULES[arguments.queue_command]}")
    command = cast(Callable[[Config, argparse.Namespace], int], module.run)
    return command(configuration(arguments), arguments)
