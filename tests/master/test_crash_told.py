"""A child that crashes: its last words are a traceback in the log, and they are counted."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.base.channel import Channel
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.master.children import Child


def crash(channel: Channel) -> int:
    """A defect of ours."""
    raise ZeroDivisionError("by nobody's fault")


def last_call(channel: Channel) -> int:
    """What ends a process by an exception that is no error."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("serve", [crash, last_call])
def test_a_crash_is_in_the_log_with_its_traceback_and_counted(
    serve: Callable[[Channel], int], tmp_path: Path
) -> None:
    """The number outlives the process, as all of its numbers do."""
    board, path = Board(2), tmp_path / "log"
    child = Child("worker 1", serve, board.slot(1))
    child.fork(lambda: None, Log("json", path))
    _, status = os.waitpid(child.pid, 0)
    child.ended()
    assert os.waitstatus_to_exitcode(status) == 1
    (told,) = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert (told["event"], told["where"]) == ("bug", "worker 1")
    assert told["traceback"].startswith("Traceback (most recent call last):")
    assert board.slot(1).get("bugs") == 1
