"""The turn: one committer after the other, and nobody waits for one that is gone."""

import os
import threading

from relayd.spool.turn import Turn

PATIENT = 30.0


def test_who_comes_second_waits_for_the_first() -> None:
    """And has it at once when that is done."""
    turn = Turn(PATIENT)
    assert turn.take()
    said: list[str] = []

    def second() -> None:
        assert turn.take()
        said.append("second")
        turn.give()

    thread = threading.Thread(target=second)
    thread.start()
    said.append("first")
    turn.give()
    thread.join()
    assert said == ["first", "second"]
    assert turn.take()


def test_it_is_shared_with_processes_that_are_forked() -> None:
    """Workers are."""
    turn = Turn(PATIENT)
    turn.take()
    pid = os.fork()
    if pid == 0:
        os._exit(7 if turn.take() else 8)
    turn.give()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_turn_that_is_never_given_back_is_waited_for_once() -> None:
    """A process was killed in it: who goes on without gives the next one its turn."""
    turn = Turn(0.01)
    assert turn.take()
    assert not turn.take()
    turn.give()
    assert turn.take()


def test_a_turn_that_is_given_back_twice_is_one() -> None:
    """A process was stopped in it and goes on after others did without."""
    turn = Turn(0.01)
    turn.give()
    turn.give()
    assert turn.take()
    assert not turn.take()
