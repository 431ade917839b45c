"""The succession: who is started again after a death, and who is not."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from relayd.master.children import Child
from relayd.master.family import Family
from relayd.master.generation import generation
from relayd.master.places import MASTER
from relayd.master.post import Post
from relayd.master.succession import Succession
from relayd.master.vigil import Vigil
from tests.master.household import child, dies, runs
from tests.master.test_generation import common, plan


class Scene:
    """A succession whose processes are none; `forked` are those that were to begin."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.common = common(folder)
        self.forked: list[Child] = []
        self.died: list[str] = []
        made = plan(folder)
        post = SimpleNamespace(
            plan=made, common=self.common, log=self.common.log, slot=self.common.board.slot(MASTER)
        )
        family = SimpleNamespace(fork=self.forked.append, running=())
        vigil = SimpleNamespace(died=lambda now, child, reason: self.died.append(child.role))
        self.succession = Succession(cast(Post, post), cast(Family, family), cast(Vigil, vigil))

    def events(self) -> list[dict[str, Any]]:
        """What the log has."""
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]


def test_one_of_the_generation_in_force_comes_again_when_its_time_has_come(tmp_path: Path) -> None:
    """With a delay that the log names; its numbers are kept."""
    scene = Scene(tmp_path)
    worker = dies(runs(scene.succession.current.workers[0], 1))
    worker.began = time.monotonic()
    worker.slot.add("accepted", 5)
    scene.succession.died(worker, 1, "signal SIGKILL")
    (told,) = scene.events()
    assert (told["event"], told["restart_in_s"], told["in_a_row"]) == ("process.died", 1.0, 1)
    assert scene.died == ["worker 1"]
    slot = scene.common.board.slot(MASTER)
    assert (slot.get("accepted"), slot.get("worker_restarts"), worker.restarts) == (5, 1, 1)
    assert worker.due is not None
    scene.succession.start(worker.due - 0.1, ())
    assert scene.forked == []
    scene.succession.start(worker.due, ())
    assert scene.forked == [worker]


def test_one_of_an_earlier_generation_does_not_come_again(tmp_path: Path) -> None:
    """Nor is it counted as a restart; the log does not promise one, and its place is free."""
    scene = Scene(tmp_path)
    old, killed, delivery = scene.succession.current.children
    for each in (old, killed):
        runs(each, 1)
    scene.succession.succeed(generation(plan(tmp_path), scene.common))
    # The default of the configuration is text.
    scene.log.write_text("")
    scene.common.log.speak("json")
    for each, status, reason in ((old, 0, "exit status 0"), (killed, -9, "signal SIGKILL")):
        scene.succession.gone(dies(each), 1, status, reason)
    retired, died = scene.events()
    assert (retired["event"], died["event"]) == ("process.retired", "process.died")
    assert "restart_in_s" not in died
    assert scene.died == []
    assert [each.place for each in (old, killed, delivery)] == [None] * 3
    assert scene.common.places.has(2, 1)


def test_a_reader_leaves_nothing_behind(tmp_path: Path) -> None:
    """It is no process of the relay's, and its end no event."""
    scene = Scene(tmp_path)
    scene.succession.gone(dies(runs(child("configuration"), os.getpid())), 1, -9, "signal SIGKILL")
    assert not scene.log.exists() or scene.events() == []
