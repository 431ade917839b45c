"""Every system call of a commit, a delivery, the end of a message and a start can be the last, or can fail.

Nothing acknowledged is lost, nothing is acknowledged that is not there, and second copies come only where the
design says. The table of it is printed.
"""

import itertools
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.crash import tracing
from tests.crash.lane import KILL, Point, Result, walk
from tests.crash.table import table
from tests.crash.tracing import Call
from tests.crash.works import BROKEN, WORKS

pytestmark = pytest.mark.long

FAULTS = [f"error={name}" for name in ("EIO", "ENOSPC", "EDQUOT", "EMFILE")]
LANES = 2
_BATCH = 25
# Of the many files of the reserve, made and looked at one like the other, so many calls of a kind.
_RESERVED = 3

Walk = Callable[[Sequence[Point]], list[Result]]


@pytest.fixture(scope="module")
def walking() -> Iterator[Walk]:
    """Runs in several lanes at once. A kill takes nothing that the kernel has, so memory will do as a disk."""
    reason = tracing.missing()
    if reason:
        pytest.skip(reason)
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder,
        ProcessPoolExecutor(LANES, multiprocessing.get_context("spawn")) as lanes,
    ):

        def walk_all(points: Sequence[Point]) -> list[Result]:
            batches = [list(points[first : first + _BATCH]) for first in range(0, len(points), _BATCH)]
            return list(itertools.chain.from_iterable(lanes.map(walk, batches, itertools.repeat(folder))))

        yield walk_all


def calls_of(whole: Result) -> list[Call]:
    """The calls of a work that was done to its end."""
    kept = []
    seen: dict[str, int] = {}
    for call in whole.calls:
        if "/reserve/" in call.line:
            seen[call.name] = seen.get(call.name, 0) + 1
            if seen[call.name] > _RESERVED:
                continue
        kept.append(call)
    return kept


def points_of(whole: Result, whats: Sequence[str]) -> list[Point]:
    """A run for each call and each thing that may happen there; the telling of facts does not fail."""
    return [
        Point(whole.point.work, call, what)
        for call in calls_of(whole)
        for what in whats
        if what == KILL or "/facts>" not in call.line
    ]


def complaints(results: Sequence[Result]) -> list[str]:
    """What must not be, with the place where it came about."""
    return [
        f"{result.point.work}, {result.point.what} at {result.point.call and result.point.call.line}: {found}"
        for result in results
        for found in result.found
    ]


def row(work: str, results: Sequence[Result]) -> list[object]:
    """A row of the table."""
    kills = sum(result.point.what == KILL for result in results)
    verdicts = [result.verdict for result in results]
    return [
        work,
        kills,
        len(results) - kills,
        sum(verdict.acknowledged for verdict in verdicts),
        sum(len(verdict.lost) for verdict in verdicts),
        sum(len(verdict.owed) for verdict in verdicts),
        sum(verdict.copies for verdict in verdicts),
        sum(len(verdict.unexplained) + len(verdict.retold) for verdict in verdicts),
        sum(result.false_250s for result in results),
    ]


HEAD = [
    "at every system call of",
    "kill points",
    "faults",
    "acknowledged",
    "lost",
    "notices lost",
    "copies",
    "unexplained",
    "false 250s",
]


def test_every_step_can_be_the_last_or_fail(walking: Walk, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill at each call, and each error at each call: then a start finds all that was promised."""
    wholes = walking([Point(work) for work in WORKS])
    assert complaints(wholes) == []
    results = walking([point for whole in wholes for point in points_of(whole, [KILL, *FAULTS])])
    by_work = {work: [result for result in results if result.point.work == work] for work in WORKS}
    rows = [row(work, each) for work, each in by_work.items()]
    with capsys.disabled():
        print("\n\n" + table(HEAD, [*rows, row("all", results)]))
    assert all(by_work.values())
    assert complaints(results) == []


def test_a_call_at_which_a_process_is_killed_is_not_done(walking: Walk, tmp_path: Path) -> None:
    """So each point is the moment after the call before."""
    path = tmp_path / "file"

    def make() -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))

    (opened, *_) = tracing.traced(lambda: make, tmp_path, None).calls()
    assert path.exists()
    path.unlink()
    ended = tracing.traced(lambda: make, tmp_path, opened, KILL)
    assert ended.status == signal.SIGKILL
    assert not path.exists()


@pytest.mark.parametrize("work", BROKEN)
def test_a_broken_step_is_found_out(walking: Walk, work: str) -> None:
    """Left out or done in another order: the kills alone show it, though the whole work looks well."""
    (whole,) = walking([Point(work)])
    assert complaints([whole]) == []
    results = walking(points_of(whole, [KILL]))
    assert any(result.found for result in results)
    # It is the loss or the copy that shows, not a harness that trips over itself.
    assert not any(result.wrong for result in results)
