"""What is done about a child that hangs: asked, told, killed; and where the disk holds it up, only told."""

import os
import selectors
import signal
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from relayd.base.channel import Channel, Ready
from relayd.base.counters import Board, Slot
from relayd.base.events import Event, ProcessHung
from relayd.base.log import Log
from relayd.master.children import Child
from relayd.master.stack import Stack
from relayd.master.watch import Watch
from relayd.master.watchdog import Pulse, Wait, Watchdog

STACK = b'Current thread 0x01 (most recent call first):\n  File "/x/relayd/a.py", line 7 in f\n'


class Asked(Stack):
    """One whose process answers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def ask(self, pid: int) -> None:
        """See the class."""
        self.times += 1
        os.write(self._writing, STACK)


@dataclass(slots=True, eq=False)
class Hung(Child):
    """A child without a process, which notes that it was killed."""

    kills: list[str] = field(default_factory=list)

    def kill(self) -> None:
        """See the class."""
        self.kills.append(self.reason)


@pytest.fixture
def slot() -> Slot:
    """The child's numbers."""
    return Board(1).slot(0)


def run(child: Child, seconds: int, wait: Wait, *, beats: bool = False) -> tuple[Watch, list[Event]]:
    """The watch over it for so long."""
    log: list[Event] = []

    def why(pulse: Pulse) -> Wait:
        return wait

    watch = Watch(log.append, 0.0, dog=Watchdog(), why=why)
    for now in range(seconds + 1):
        if beats:
            child.slot.set("heartbeat", 1000 + now)
        watch.look(float(now), [child])
    return watch, log


def hung(slot: Slot) -> Hung:
    """A delivery process with a pid that no process can have."""
    slot.set("heartbeat", 1)
    return Hung("delivery", lambda channel: 0, slot, pid=1 << 30, stack=Asked())


def test_a_child_that_hangs_is_asked_told_and_killed(slot: Slot) -> None:
    """In this order, within a second; the reason of its death says so."""
    child = hung(slot)
    watch, log = run(child, 31, "other")
    assert log == [
        ProcessHung(
            role="delivery",
            child=1 << 30,
            reason="it makes no progress",
            seconds=31.0,
            killed=True,
            stack="f (relayd/a.py:7)",
        )
    ]
    assert child.kills == ["it hung for 31 s"]
    assert list(watch.stuck.values()) == [f"delivery (pid {1 << 30}) hangs: it makes no progress for 31 s"]


def test_one_that_goes_on_after_it_was_asked_lives(slot: Slot) -> None:
    """It was slow, and not stuck."""
    child = hung(slot)
    _, log = run(child, 30, "other")
    assert isinstance(child.stack, Asked)
    assert child.stack.times == 1
    watch, _ = run(child, 60, "other", beats=True)
    assert (log, child.kills, watch.stuck) == ([], [], {})


def test_one_that_the_disk_holds_up_is_told_each_minute_and_lives(slot: Slot) -> None:
    """After 30 s, then once a minute, with its stack each time."""
    child = hung(slot)
    _, log = run(child, 160, "disk")
    told = [each for each in log if isinstance(each, ProcessHung)]
    assert len(told) == len(log) == 3
    assert [each.killed for each in told] == [False] * 3
    assert told[0].reason == "it waits for the disk"
    assert told[0].stack == "f (relayd/a.py:7)"
    assert all(60 <= after.seconds - before.seconds <= 67 for before, after in pairwise(told))
    assert child.kills == []


def test_one_whose_disk_hangs_beside_a_loop_that_beats_is_told(slot: Slot) -> None:
    """fsync does not come back; sessions go on meanwhile."""
    child = hung(slot)
    slot.set("disk_since", 500)
    _, log = run(child, 40, "other", beats=True)
    assert [each.killed for each in log if isinstance(each, ProcessHung)] == [False]


def test_a_child_of_another_program_text_has_no_stack(slot: Slot) -> None:
    """One that a master before an upgrade has forked: told and killed all the same."""
    child = hung(slot)
    child.stack = None
    _, log = run(child, 31, "stopped")
    assert [(each.stack, each.reason) for each in log if isinstance(each, ProcessHung)] == [
        ("", "it is stopped, by SIGSTOP or a debugger")
    ]
    assert len(child.kills) == 1


def test_one_that_works_and_whose_numbers_cannot_be_read_is_left_alone(slot: Slot) -> None:
    """It is from before an upgrade, and ends its sessions in its own time; one that has not begun is watched."""
    child = hung(slot)
    slot.set("heartbeat", 0)
    child.is_ready = True
    assert run(child, 1000, "other")[1] == []
    child.is_ready = False
    assert run(child, 302, "other")[1] != []


def beat_and_hang(channel: Channel) -> int:
    """A child that shows progress once and then waits for itself."""
    channel.send(Ready())
    reading, writing = os.pipe()
    os.read(reading, 1)
    return writing


class Patient(Stack):
    """That of a real child, which is read until the frame is there: it is written line by line."""

    def __init__(self, inner: Stack) -> None:
        self._inner = inner

    def ask(self, pid: int) -> None:
        """See the class."""
        self._inner.ask(pid)

    def read(self) -> str:
        """See the class."""
        text = ""
        with selectors.DefaultSelector() as selector:
            selector.register(self._inner, selectors.EVENT_READ)
            while "in beat_and_hang" not in text:
                assert selector.select(10.0)
                text += self._inner.read()
        return text

    def close(self) -> None:
        """See the class."""
        self._inner.close()


def test_a_real_child_says_where_it_hangs_and_is_gone(slot: Slot, tmp_path: Path) -> None:
    """Forked as the master does it, asked by its signal, killed."""
    slot.set("heartbeat", 1)
    child = Child("worker 1", beat_and_hang, slot)
    child.fork(lambda: None, Log("text", tmp_path / "log"))
    assert child.channel is not None
    assert child.stack is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.channel, selectors.EVENT_READ)
        assert selector.select(10.0)
    child.stack = Patient(child.stack)
    log: list[Event] = []
    watch = Watch(log.append, 0.0)
    for now in (*range(0, 31, 5), 31):
        watch.look(float(now), [child])
    _, status = os.waitpid(child.pid, 0)
    child.ended()
    assert os.WTERMSIG(status) == signal.SIGKILL
    (said,) = log
    assert isinstance(said, ProcessHung)
    assert "beat_and_hang (" in said.stack
    assert said.killed
