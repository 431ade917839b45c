"""Facts: what is wrong, as /healthz finds it in memory."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.base.config import Config, load
from relayd.base.counters import Board
from relayd.observe.facts import Facts, Gathering
from relayd.observe.look import Look
from relayd.observe.looking import Looking

NOW = 1000.0
WELL = Look(states={"new": 1, "cur": 0, "hold": 5, "failed": 0}, due=1, oldest_due_s=3.0, free=10**12)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The defaults."""
    (tmp_path / "relayd.toml").write_text("")
    return load(tmp_path / "relayd.toml")


def gathered(config: Config, board: Board, look: Look | None = WELL, age: float = 1.0) -> Facts:
    """The facts after a look of this age."""
    loop = asyncio.new_event_loop()
    looking = Looking(loop, lambda: WELL)
    looking.last, looking.last_at = look, loop.time() - age
    found = Gathering(config, board, looking, "1").facts(NOW)
    loop.close()
    return found


def with_master(**numbers: int) -> Board:
    """A board in whose first slot these numbers stand."""
    board = Board(3)
    board.slot(0).set("heartbeat", int((NOW - 1) * 1000))
    for name, value in numbers.items():
        board.slot(0).set(name, value)
    return board


def test_all_is_well_where_nothing_is_wrong(config: Config) -> None:
    """Also before the first look."""
    assert gathered(config, with_master()).findings == []
    assert gathered(config, with_master(), None).findings == []
    assert gathered(config, with_master(recent_failures=9)).findings == []


@pytest.mark.parametrize(
    ("board", "word"),
    [
        (lambda: with_master(missing=1), "1 process missing"),
        (lambda: with_master(missing=2), "2 processes missing"),
        (lambda: with_master(recent_restarts=4), "restarted 4 times"),
        (lambda: with_master(failures=9), "every delivery"),
        (lambda: with_master(heartbeat=int((NOW - 31) * 1000)), "the master has made no progress for 31s"),
    ],
)
def test_what_the_master_has_counted_is_judged(config: Config, board: Callable[[], Board], word: str) -> None:
    """One line that says why."""
    (line,) = gathered(config, board()).findings
    assert word in line


@pytest.mark.parametrize(
    ("look", "word"),
    [
        (Look(states={"failed": 2}, free=10**12), "failed/ is not empty: 2 files"),
        (Look(oldest_due_s=301.0, free=10**12), "5m"),
        (Look(free=10**9), "nearly full"),
        (Look(inodes=999), "999 inodes free"),
        (Look(trouble="the spool cannot be read: new: Input/output error"), "Input/output error"),
    ],
)
def test_what_was_seen_of_the_spool_is_judged(config: Config, look: Look, word: str) -> None:
    """One line that says why."""
    (line,) = gathered(config, with_master(), look).findings
    assert word in line


@pytest.mark.parametrize(("seconds", "age", "is_well"), [(0.0, 119, True), (0.0, 121, False), (60.0, 1500, True)])
def test_a_look_that_is_long_over_means_that_the_disk_hangs(
    config: Config, seconds: float, age: float, is_well: bool
) -> None:
    """A large queue is looked at more seldom."""
    look = Look(seconds=seconds, free=10**12)
    assert (gathered(config, with_master(), look, age).findings == []) is is_well


def test_a_process_that_waits_for_the_disk_is_told(config: Config) -> None:
    """A quarter of a minute is nothing, half of one is."""
    board = with_master()
    board.slot(2).set("disk_since", int((NOW - 15) * 1000))
    assert gathered(config, board).findings == []
    board.slot(2).set("disk_since", int((NOW - 31) * 1000))
    (line,) = gathered(config, board).findings
    assert line == "a process has waited for the disk for 31s"


def test_numbers_on_their_way_leave_those_of_before(config: Config) -> None:
    """A scrape in the middle of a fold tells nothing twice."""
    board = with_master(accepted=5)
    loop = asyncio.new_event_loop()
    gathering = Gathering(config, board, Looking(loop, lambda: WELL), "1")
    assert gathering.facts(NOW).slots[0].get("accepted") == 5
    first = board.slot(0)
    # As the first half of a fold leaves it.
    first._numbers[510] += 1
    first.add("accepted", 5)
    began = time.monotonic()
    assert gathering.facts(NOW).slots[0].get("accepted") == 5
    assert time.monotonic() - began < 10
    loop.close()
