"""A lane: one spool in which works are done and cut short, started again and looked into, one after another.

Each end of a work is met with a process that recovers and drains, and a verdict from what was told outside of the
spool. What is wrong beyond that is said in words.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from relayd.base import events
from relayd.spool.envelope import head_end
from relayd.spool.layout import Layout, parse_name
from relayd.spool.queue import Queue
from tests.crash.facts import Facts, Teller, Verdict, compare, read
from tests.crash.town import Town, is_sound
from tests.crash.tracing import Call, Ended, forked, traced
from tests.crash.works import BROKEN, MENDED, WORKS, Alone, Work

KILL = "signal=KILL"
_TRIES = 3
_NOT_REACHED = "strace did nothing"


@dataclass(frozen=True)
class Point:
    """One run: a work and, at one of its calls, what happens there. Without a call the work is done to its end."""

    work: str
    call: Call | None = None
    what: str = KILL


@dataclass(frozen=True)
class Result:
    """What came of a run; `wrong` is what no verdict has a word for."""

    point: Point
    verdict: Verdict
    false_250s: int
    wrong: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def is_reached(self) -> bool:
        """Whether what was to happen at the call did happen."""
        return _NOT_REACHED not in self.wrong

    @property
    def found(self) -> list[str]:
        """Everything that must not be."""
        verdict = self.verdict
        found = list(self.wrong)
        found += [f"{key} is lost" for key in verdict.lost]
        found += [f"nobody was told of {key}" for key in verdict.owed]
        found += [f"{key} was told twice" for key in verdict.retold]
        found += [f"{key} got another copy" for key in verdict.unexplained]
        return [*found, *["a false 250"] * self.false_250s]


def walk(points: list[Point], parent: str) -> list[Result]:
    """Do these runs in a lane of their own in this folder."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        lane = _Lane(Path(folder))
        return [lane.walk(point) for point in points]


class _Lane:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._facts = folder / "facts"
        self._layout = Layout(str(folder / "spool"))
        self._warm: set[str] = set()

    def walk(self, point: Point) -> Result:
        """Where a run did not come to the call, since a clock ticked in it and not in the one before: again."""
        for _ in range(_TRIES):
            result = self._run(point)
            if result.is_reached:
                break
        return result

    def _run(self, point: Point) -> Result:
        work = (WORKS | BROKEN)[point.work]
        if point.work not in self._warm:
            # What is imported or computed at its first use is so before anybody counts.
            self._warm.add(point.work)
            self._begin()
            work.prepare(self._layout, self._town(work))()
            shutil.rmtree(self._layout.root)
        self._begin()
        ended = traced(lambda: self._prepared(work), self._folder, point.call, point.what)
        wrong = self._ended_as_meant(point, ended)
        told = read(self._lines())
        false_250s = self._false_250s(told)
        started = forked(lambda: self._start_again(work), self._folder)
        if started.status != 0:
            wrong.append(f"the next start failed: {started.status}, {started.raised}")
        after = read(self._lines())
        left = [f"{name} is left" for name in self._names()]
        if left or wrong:
            shutil.rmtree(self._layout.root)
        return Result(
            point=point,
            verdict=compare(told, after, certain=told.settled),
            false_250s=false_250s,
            wrong=[*wrong, *after.bugs, *left],
            calls=ended.calls() if point.call is None else [],
        )

    def _begin(self) -> None:
        if not os.path.exists(self._layout.root):
            self._layout.create()
        self._facts.unlink(missing_ok=True)
        for folder in ("new", "cur"):
            # Changed just now, in every run.
            os.utime(self._layout.folder(folder))

    def _town(self, work: Work) -> Town:
        return Town(Teller(self._facts), work.kinds)

    def _prepared(self, work: Work) -> Callable[[], None]:
        return work.prepare(self._layout, self._town(work))

    def _start_again(self, work: Work) -> None:
        town = self._town(work)

        def report(event: events.Event) -> None:
            if not isinstance(event, MENDED):
                town.teller.say("bug", "-", *str(event).split())

        town.drain(Queue(self._layout, report, longest=1e9, disk=Alone()))

    def _ended_as_meant(self, point: Point, ended: Ended) -> list[str]:
        if point.call is not None and not ended.is_injected:
            return [_NOT_REACHED]
        if point.call is not None and point.what == KILL:
            return [] if ended.status == signal.SIGKILL else ["it was not killed"]
        return [] if ended.status == 0 else [f"it ended with {ended.status}: {ended.raised}"]

    def _lines(self) -> list[str]:
        return self._facts.read_text().splitlines() if self._facts.exists() else []

    def _false_250s(self, told: Facts) -> int:
        """Messages that were acknowledged, have an open recipient, and do not stand there whole."""
        done = {*told.settled, *told.taken, *told.refused}
        waiting = {message_id for message_id, index in told.acknowledged - done}
        return sum(not any(self._is_whole(message_id, name) for name in self._names()) for message_id in waiting)

    def _is_whole(self, message_id: str, name: str) -> bool:
        parsed = parse_name(name.rpartition("/")[2])
        if parsed is None or parsed[0] != message_id or not name.startswith(("new/", "cur/")):
            return False
        content = (Path(self._layout.root) / name).read_bytes()
        return len(content) == parsed[1] and is_sound(message_id, content[head_end(content) :])

    def _names(self) -> list[str]:
        return [
            f"{folder}/{name}"
            for folder in ("tmp", "new", "cur", "hold", "failed", "journal")
            for name in os.listdir(self._layout.folder(folder))
        ]
