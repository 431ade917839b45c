"""An upgrade before its last step: what the new code's check says, and what becomes of who asked."""

import os
import select
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.base.source import Source
from relayd.master.control import Outcome
from relayd.master.handover import Shared, State
from relayd.master.reload import PROVING_SECONDS, REPLACING_SECONDS
from relayd.master.upgrade import Adopted, Upgrade

STATE = State("1", ("old",), Source(None), {}, None, "text", 0.0, 0, 0, Shared(0, 0, (0, 0)), ())
NOBODY = "/no/such/python"


def program(text: str) -> list[str]:
    """Code that does this; it is run with one more word, "check"."""
    return [sys.executable, "-I", "-S", "-c", text]


@dataclass
class Desk:
    """An upgrade with its surroundings; time stands still unless a test moves it."""

    upgrade: Upgrade
    selector: selectors.BaseSelector
    asker: socket.socket
    answers: list[Outcome] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def begin(self, command: list[str]) -> None:
        """Somebody asks."""
        self.upgrade.begin(self.asker, command, 100.0)

    def until_over(self) -> Outcome:
        """Go round as the master does until there is an answer."""
        until = time.monotonic() + 20
        while not self.answers:
            assert time.monotonic() < until, "no answer"
            for key, _ in self.selector.select(0.01):
                key.data()
            self.upgrade.tend(100.0)
        return self.answers[0]


@contextmanager
def desk(failure: str | None = None, *, adopts: bool = False) -> Iterator[Desk]:
    """One with nothing under way, or in a master that was just executed."""
    asker, other = socket.socketpair()
    adopted = Adopted([], 0.0, asker, [], {}, 0, failure or "") if adopts or failure else None
    answers: list[Outcome] = []
    refused: list[str] = []
    with asker, other, selectors.DefaultSelector() as selector:
        upgrade = Upgrade(
            selector,
            lambda _: STATE,
            lambda _, outcome: answers.append(outcome),
            refused.append,
            list,
            0.0,
            adopted,
            ["mind the gap"],
        )
        yield Desk(upgrade, selector, asker, answers, refused)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("import sys; print('a\\nrelayd: no room', file=sys.stderr); sys.exit(1)", "the new code: no room"),
        ("import os; os._exit(7)", "exit status 7"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
        ("print('x\\n' * 200_000 + 'at last'); raise SystemExit(1)", "the new code: at last"),
        ("import os; os.write(1, bytes([255, 10])); os._exit(1)", "the new code: \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_check_that_fails_is_told_in_its_last_words(text: str, reason: str) -> None:
    """However it ends and whatever it writes; nothing of it is left, and the next can begin."""
    with desk() as at:
        before = sorted(os.listdir("/proc/self/fd"))
        at.begin(program(text))
        assert at.upgrade.is_under_way
        outcome = at.until_over()
        assert not outcome.ok
        assert reason in outcome.reason
        assert at.refused == [outcome.reason]
        assert not at.upgrade.is_under_way
        assert at.upgrade.due is None
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_check_that_closes_its_output_is_waited_for() -> None:
    """The end of file is not its end: the status is what counts."""
    with desk() as at:
        at.begin(program("import os, time; os.close(1); os.close(2); time.sleep(0.2); os._exit(3)"))
        assert at.until_over().reason == "the new code: exit status 3"


def test_what_a_check_leaves_running_is_not_waited_for() -> None:
    """A process that has its output still."""
    with desk() as at:
        at.begin(program("import os, time\nif os.fork() == 0: time.sleep(3); os._exit(0)\nos._exit(4)"))
        assert at.until_over().reason == "the new code: exit status 4"


def test_a_check_that_hangs_is_ended_with_what_it_has_forked(tmp_path: Path) -> None:
    """After half a minute, which is told as such; no process of broken code stays behind."""
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    with desk() as at:
        forking = f"import os, time\nif os.fork() == 0: os.open({str(alive)!r}, os.O_WRONLY)\ntime.sleep(60)"
        at.begin(program(forking))
        assert at.upgrade.due == 100.0 + PROVING_SECONDS
        with open(alive, "rb") as reading:
            at.upgrade.tend(100.0 + PROVING_SECONDS)
            assert at.until_over().reason == f"the new code did not come so far within {PROVING_SECONDS:.0f} s"
            assert select.select([reading], [], [], 10)[0]
            assert reading.read() == b""


def test_a_command_that_is_none_is_told_at_once() -> None:
    """Not there, not executable for us, not even a path."""
    for command in ([NOBODY], ["/etc/passwd"], ["/tmp\0"], [""]):
        with desk() as at:
            at.begin(command)
            assert [outcome.ok for outcome in at.answers] == [False]
            assert at.refused == [at.answers[0].reason]
            assert not at.upgrade.is_under_way


def test_an_exec_that_fails_after_a_good_check_is_told(tmp_path: Path) -> None:
    """The new code went away in between; the old code goes on."""
    script = tmp_path / "new-code"
    script.write_text('#!/bin/sh\nrm "$0"\n')
    script.chmod(0o755)
    with desk() as at:
        at.begin([str(script)])
        assert at.until_over().reason == f"{script}: No such file or directory"


def test_a_stop_ends_the_check_and_answers() -> None:
    """Nobody waits for what the new code would have said."""
    with desk() as at:
        at.begin(program("import time; time.sleep(60)"))
        at.upgrade.stop()
        assert [outcome.reason for outcome in at.answers] == ["the relay is stopping"]
        assert not at.upgrade.is_under_way


def test_new_code_answers_when_everything_is_replaced() -> None:
    """With the configuration's warnings, once."""
    with desk(adopts=True) as at:
        at.upgrade.tend(1.0)
        assert at.upgrade.is_under_way
        assert at.answers == []
        assert at.upgrade.replaced()
        assert not at.upgrade.replaced()
        assert at.answers == [Outcome(True, warnings=("mind the gap",))]
        assert not at.upgrade.is_under_way


def test_new_code_that_cannot_replace_everything_says_so_in_time() -> None:
    """A reload may follow, which mends it."""
    with desk(adopts=True) as at:
        assert at.upgrade.due == REPLACING_SECONDS
        at.upgrade.tend(REPLACING_SECONDS)
        assert [(outcome.ok, "in force" in outcome.reason) for outcome in at.answers] == [(False, True)]
        assert not at.upgrade.is_under_way


def test_code_that_got_its_state_back_answers_with_the_reason() -> None:
    """At once; it has everything replaced all the same, and says no more of it."""
    with desk("it chokes") as at:
        at.upgrade.tend(1.0)
        at.upgrade.tend(2.0)
        assert at.answers == [Outcome(False, "it chokes")]
        assert at.refused == ["it chokes"]
        assert at.upgrade.replaced()
        assert len(at.answers) == 1


def test_code_that_got_its_state_back_and_cannot_replace_everything_lets_a_reload_follow() -> None:
    """As any other upgrade: it is over in time, and nobody is answered twice."""
    with desk("it chokes") as at:
        at.upgrade.tend(1.0)
        assert at.upgrade.is_under_way
        assert at.upgrade.due == REPLACING_SECONDS
        at.upgrade.tend(REPLACING_SECONDS)
        assert not at.upgrade.is_under_way
        assert len(at.answers) == 1
