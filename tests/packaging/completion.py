"""Completion: what the shells bash, zsh and fish need to finish a word of relayd's command line.

The words are the parser's; which of them are files is seen from what they are called. shtab writes the rest.
"""

import argparse

import shtab

from relayd.cli.arguments import parser

# Where a shell looks for it below its own folder, by its own rule.
NAMES = {"bash": "relayd", "zsh": "_relayd", "fish": "relayd.fish"}
_KINDS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def completion(shell: str) -> str:
    """The file for one of NAMES."""
    top = parser()
    _mark_files(top)
    return shtab.complete(top, shell).rstrip("\n") + "\n"


def _mark_files(command: argparse.ArgumentParser) -> None:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _mark_files(below)
        elif action.metavar in _KINDS:
            action.complete = _KINDS[str(action.metavar)]  # type: ignore[attr-defined]
