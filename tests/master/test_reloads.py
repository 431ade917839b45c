"""Reloads: who is answered by which, and who has to go when there is no room for another generation."""

import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from relayd.base.channel import Channel, Ready, Retire
from relayd.base.log import Log
from relayd.base.source import Source
from relayd.master.children import GRACE_SECONDS, Child
from relayd.master.control import Outcome
from relayd.master.family import Family
from relayd.master.generation import Generation, Plan, generation
from relayd.master.places import Place
from relayd.master.post import Post
from relayd.master.privileges import Identity
from relayd.master.reloads import Reloads
from relayd.master.vigil import Vigil
from tests.master.household import child, runs
from tests.master.test_generation import common

FAR = 1e9


@dataclass
class Scene:
    """Reloads, and what came of them."""

    folder: Path
    parts: int = 8
    running: list[Child] = field(default_factory=list)
    answers: list[tuple[socket.socket, Outcome]] = field(default_factory=list)
    succeeded: list[Generation] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / "relayd.toml"
        self.path.write_text('hostname = "relay.example.org"\n')
        source = Source.of(self.path, spool=self.folder).read()
        self.plan = Plan(source, source.config())
        self.common = common(self.folder, parts=self.parts)
        generation(self.plan, self.common)
        post = SimpleNamespace(
            common=self.common,
            identity=Identity("me", os.getuid(), os.getgid(), ()),
            log=Log("json", self.folder / "log"),
            control=SimpleNamespace(answer=lambda asker, outcome: self.answers.append((asker, outcome))),
        )
        vigil = SimpleNamespace(
            reloading=lambda now: self.told.append("reloading"), ready=lambda: self.told.append("ready")
        )
        self.reloads = Reloads(
            cast(Post, post),
            cast(Family, self),
            cast(Vigil, vigil),
            lambda: self.plan,
            self.succeeded.append,
        )

    def reads(self) -> None:
        """The configuration is read, in the process that does it."""
        (reader,) = self.reloads.children
        reader.fork(lambda: None, Log("text", self.folder / "log"))
        assert reader.channel is not None
        select.select([reader.channel], [], [], 20)
        said = reader.channel.receive()
        os.waitpid(reader.pid, 0)
        reader.ended()
        if isinstance(said, Ready):
            self.reloads.said(reader, said)
        else:
            self.reloads.ended(reader, f"said {said}")

    def proves(self) -> None:
        """The first of the new generation have come as far as they should."""
        for each in self.reloads.children:
            if each.due is not None:
                runs(each, 1000, "waiting")


def askers(count: int) -> Sequence[socket.socket]:
    """Connections of commands."""
    return [socket.socket() for _ in range(count)]


def retiring(number: int) -> tuple[Child, Channel]:
    """A replaced worker whose sessions go on, and what it hears."""
    made = runs(child(f"worker {number}", number, number), 2000 + number)
    made.channel, theirs = Channel.pair()
    made.retire_by = FAR
    return made, theirs


def test_who_asks_during_a_reload_is_answered_by_the_next(tmp_path: Path) -> None:
    """What it has changed may not have been read; two that ask then share one."""
    scene, (first, second, third) = Scene(tmp_path), askers(3)
    scene.reloads.ask(first)
    scene.reads()
    scene.reloads.ask(second)
    scene.reloads.ask(third)
    scene.reloads.tend(1.0)
    scene.proves()
    scene.reloads.tend(2.0)
    assert len(scene.succeeded) == 1
    assert scene.answers == []
    scene.reloads.replaced(3.0)
    assert [asker for asker, outcome in scene.answers if outcome.ok] == [first]
    assert scene.reloads.is_under_way
    scene.path.unlink()
    scene.reads()
    scene.reloads.tend(4.0)
    assert [(asker, outcome.ok) for asker, outcome in scene.answers[1:]] == [(second, False), (third, False)]
    assert len(scene.succeeded) == 1
    assert not scene.reloads.is_under_way
    assert scene.told == ["reloading", "ready"] * 2


def test_one_that_does_not_become_ready_gives_way_to_the_next(tmp_path: Path) -> None:
    """It is in force, and whoever asked has heard that; the next may be what mends it."""
    scene, (first, second) = Scene(tmp_path), askers(2)
    scene.reloads.ask(first)
    scene.reads()
    scene.reloads.tend(1.0)
    scene.proves()
    scene.reloads.tend(2.0)
    scene.reloads.ask(second)
    scene.reloads.tend(FAR)
    ((asker, outcome),) = scene.answers
    assert asker is first
    assert "in force, but not ready yet: worker 1, worker 2, delivery" in outcome.reason
    assert [each.role for each in scene.reloads.children] == ["configuration"]
    # Nothing of it was ended, and it was no configuration that is refused.
    (made,) = scene.succeeded
    assert all(each.place is not None and each.retire_by is None for each in made.children)
    log = tmp_path / "log"
    assert not log.exists() or "config.refused" not in log.read_text()


def test_a_generation_that_fails_gives_its_places_back(tmp_path: Path) -> None:
    """As often as that happens."""
    scene = Scene(tmp_path, parts=4)
    for _ in range(5):
        scene.reloads.ask(None)
        scene.reads()
        scene.reloads.tend(1.0)
        canary = scene.reloads.children[0]
        scene.reloads.ended(canary, "signal SIGKILL")
        scene.reloads.tend(2.0)
        assert not scene.reloads.is_under_way
        assert scene.common.places.has(2, 1)
    assert scene.succeeded == []


def test_without_room_the_oldest_replaced_workers_have_to_end(tmp_path: Path) -> None:
    """As many as are to come, and they are told once; with the room the reload goes on."""
    scene = Scene(tmp_path, parts=3)
    made = [retiring(number) for number in (1, 2, 3)]
    scene.running += [each for each, _ in made]
    scene.reloads.ask(None)
    scene.reads()
    for now in (1.0, 1.5):
        scene.reloads.tend(now)
    assert [each.retire_by for each in scene.running] == [3.0 + GRACE_SECONDS, 3.0 + GRACE_SECONDS, FAR]
    for _, heard in made[:2]:
        assert heard.receive() == Retire(2.0)
    for _, heard in made:
        assert not select.select([heard], [], [], 0)[0]
    leave(scene)
    scene.reloads.tend(2.0)
    scene.proves()
    scene.reloads.tend(2.5)
    assert len(scene.succeeded) == 1


def leave(scene: Scene) -> None:
    """The first generation's workers end."""
    for place in (Place(1, 0), Place(2, 1)):
        scene.common.places.give_back(place)


def test_a_stop_is_an_answer_to_all(tmp_path: Path) -> None:
    """To those that wait for the next one too."""
    scene, (first, second) = Scene(tmp_path), askers(2)
    scene.reloads.ask(first)
    scene.reloads.ask(second)
    scene.reloads.stop()
    assert scene.answers == [(each, Outcome(False, "the relay is stopping")) for each in (first, second)]
