"""The family: children that run, end, or cannot be started."""

import errno
import json
import os
import select
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.base.channel import Channel, Message, Ready, Refused, Waiting
from relayd.base.log import Log
from relayd.master.children import Child
from relayd.master.family import Family, in_words
from tests.master.household import child


@dataclass
class Home:
    """A family, and what was told of it."""

    folder: Path
    said: list[tuple[Child, Message]] = field(default_factory=list)
    ended: list[tuple[Child, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.family = Family(
            self.selector,
            Log("json", self.folder / "log"),
            lambda made: None,
            lambda made, message: self.said.append((made, message)),
            lambda made, pid, status: self.ended.append((made, pid, in_words(status))),
        )

    def until(self, is_so: Callable[[], bool]) -> None:
        """Go on until then."""
        while not is_so():
            for key, _ in self.selector.select(0.01):
                key.data()
            self.family.reap()


def test_the_last_words_of_a_child_are_heard_before_its_end(tmp_path: Path) -> None:
    """All of them, however quickly it went."""

    def speak(channel: Channel) -> int:
        channel.send(Waiting())
        channel.send(Ready())
        channel.send(Refused("no more"))
        return 3

    home = Home(tmp_path)
    made = child("worker 1", 1, 1)
    made.serve = speak
    home.family.fork(made)
    pid = made.pid
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    home.family.reap()
    assert [message for _, message in home.said] == [Waiting(), Ready(), Refused("no more")]
    assert home.ended == [(made, pid, "exit status 3")]
    assert made.reason == "no more"
    assert not home.family.running
    assert len(home.selector.get_map()) == 0


def hang(channel: Channel) -> int:
    """What a child does that never ends by itself."""
    select.select([], [], [])
    return 0


def test_one_that_was_to_have_ended_is_killed(tmp_path: Path) -> None:
    """A little after its time."""
    home = Home(tmp_path)
    made = child("worker 1", 1, 1)
    made.serve = hang
    home.family.fork(made)
    made.retire(1.0, by=100.0)
    assert home.family.next_kill() == made.retire_by
    made.retire(9.0, by=900.0)
    assert home.family.next_kill() == 105.0
    home.family.kill_overdue(104.0)
    assert made.state == "retiring"
    home.family.kill_overdue(105.0)
    home.until(lambda: bool(home.ended))
    assert home.ended[0][2] == "signal SIGKILL"


def test_one_that_not_even_a_kill_ends_is_told_of_and_not_waited_for(tmp_path: Path) -> None:
    """Which is what a disk that does not answer does; five seconds after the kill, and only at the end."""
    home = Home(tmp_path)
    made = child("worker 1", 1, 1)
    made.serve = hang
    home.family.fork(made)
    pid = made.pid
    made.retire(1.0, by=100.0)
    home.family.kill_overdue(105.0)
    # Nobody reaps it meanwhile, so it counts as one that is still there.
    home.family.leave_stuck(109.9)
    assert home.family.running
    assert not (tmp_path / "log").read_text()
    home.family.leave_stuck(110.0)
    assert not home.family.running
    assert len(home.selector.get_map()) == 0
    (told,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (told["event"], told["role"], told["child"]) == ("process.hung", "worker 1", pid)
    assert "it waits for the disk" in told["reason"]
    os.waitpid(pid, 0)


def test_who_cannot_be_told_to_begin_has_not_begun() -> None:
    """So it is told again."""
    made = child("worker 1", 1, 1)
    made.channel, theirs = Channel.pair()
    while made.channel.send(Waiting()):
        pass
    made.begin()
    assert not made.has_begun
    while theirs.receive() == Waiting() and not made.has_begun:
        made.begin()
    assert made.has_begun
    made.channel.close()


def test_a_process_that_the_machine_cannot_start_is_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short of memory or of processes: told, with nothing left open, and it may be tried again."""

    def refuse() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    home = Home(tmp_path)
    made = child("worker 1", 1, 1)
    made.due = 0.0
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", refuse)
    home.family.fork(made)
    assert os.listdir("/proc/self/fd") == before
    assert home.ended == [(made, 0, "exit status 1")]
    assert made.reason == "it cannot be started: Resource temporarily unavailable"
    assert made.pid == 0
    # When it is tried again is for the master to say.
    assert made.due != 0.0
    assert not home.family.running
