"""A reload: what it waits for, what ends it, and how one generation takes the place of another."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.master.children import Child
from relayd.master.generation import Generation, Plan
from relayd.master.reader import Reader
from relayd.master.reload import PROVING_SECONDS, REPLACING_SECONDS, Phase, Reload, moves
from tests.master.household import Count, Silent, child, dies, household, runs


def begun(made: Generation | Exception) -> tuple[Reload, Child]:
    """A reload at the time 0, and its reader, which runs."""

    def make(plan: Plan) -> Generation:
        if isinstance(made, Exception):
            raise made
        return made

    reader = Silent(household().plan)
    return Reload(cast(Reader, reader), make, 0.0), runs(reader.child, 1, "forked")


def proving() -> tuple[Reload, Generation]:
    """One whose configuration is good."""
    made = household()
    reload, _ = begun(made)
    reload.has_read()
    reload.step(1.0)
    return reload, made


def phase(reload: Reload, now: float) -> Phase:
    """How far it is then."""
    reload.step(now)
    return reload.phase


def failed(reload: Reload) -> str:
    """Why it is over."""
    assert reload.phase is Phase.OVER
    assert reload.outcome is not None
    assert not reload.outcome.ok
    return reload.outcome.reason


def test_the_configuration_is_read_before_anything_else() -> None:
    """And a reader that has done so may end."""
    reload, reader = begun(household())
    reload.step(1.0)
    assert reload.children == (reader,)
    reload.has_read()
    reload.step(1.0)
    reload.ended(dies(reader), "exit status 0")
    assert reload.phase is Phase.PROVING


def test_one_worker_and_each_single_process_have_to_prove_themselves() -> None:
    """The others are not due yet; one alone is not enough."""
    reload, made = proving()
    canary, _, delivery = made.children
    assert [each.due for each in made.children] == [0.0, None, 0.0]
    runs(canary, 2, "waiting")
    runs(delivery, 3, "forked")
    assert phase(reload, 2.0) is Phase.PROVING
    delivery.is_waiting = True
    assert phase(reload, 3.0) is Phase.REPLACING
    # They are of the generation in force now.
    assert reload.children == ()
    reload.done()
    assert reload.outcome is not None
    assert (reload.outcome.ok, tuple(reload.outcome.warnings)) == (True, ("a warning",))


@pytest.mark.parametrize("number", [0, 2])
def test_a_death_before_that_is_the_end_and_says_why(number: int) -> None:
    """In its own words where it had some."""
    reload, made = proving()
    late = runs(made.children[number], 2, "forked")
    late.reason = "worker: the spool is gone"
    reload.ended(dies(late), "exit status 3")
    assert failed(reload) == "worker: the spool is gone"
    reload, made = proving()
    reload.ended(dies(runs(made.children[number], 2, "forked")), "signal SIGKILL")
    assert "signal SIGKILL" in failed(reload)


def test_a_death_of_somebody_else_is_none_of_its_business() -> None:
    """An old worker dies meanwhile."""
    reload, _ = proving()
    reload.ended(child("worker 1", 7, 7), "signal SIGKILL")
    assert reload.phase is Phase.PROVING


def test_a_configuration_that_is_refused_ends_it() -> None:
    """With the reader's last word."""
    reload, reader = begun(household())
    reader.reason = "relayd.toml: not TOML"
    reload.ended(dies(reader), "exit status 3")
    assert failed(reload) == "relayd.toml: not TOML"
    assert reload.children == ()


def test_a_canary_that_hangs_is_waited_for_30_seconds() -> None:
    """So is a reader; who is late is named."""
    reload, made = proving()
    runs(made.children[0], 2, "forked")
    runs(made.children[2], 3, "waiting")
    assert reload.deadline == PROVING_SECONDS
    reload.step(PROVING_SECONDS - 0.1)
    assert reload.phase is Phase.PROVING
    reload.step(PROVING_SECONDS)
    assert "worker 1" in failed(reload)
    reload, _ = begun(household())
    reload.step(PROVING_SECONDS)
    assert "configuration" in failed(reload)


def test_without_room_it_waits_and_then_fails() -> None:
    """Replaced workers with sessions have all the places."""
    reload, _ = begun(IndexError("no place is free"))
    reload.has_read()
    reload.step(1.0)
    assert reload.phase is Phase.ROOM
    reload.step(PROVING_SECONDS)
    assert "too many sessions" in failed(reload)


def test_behind_the_point_of_no_return_nothing_fails_but_somebody_is_told() -> None:
    """What is not ready is named, and the next reload may mend it."""
    reload, made = proving()
    for each in (made.children[0], made.children[2]):
        runs(each, 2, "waiting")
    reload.step(2.0)
    reload.fail("too late")
    reload.ended(dies(made.children[0]), "signal SIGKILL")
    made.children[2].reason = "no lock"
    late = 2.0 + REPLACING_SECONDS + made.config.process.stop_timeout
    assert phase(reload, late - 0.1) is Phase.REPLACING
    reload.step(late)
    assert failed(reload).endswith("not ready yet: worker 1, worker 2, delivery (no lock)")


def test_an_old_worker_goes_when_a_new_one_serves() -> None:
    """One by one, the oldest first."""
    old, new = household(), household()
    running = [runs(each, pid) for pid, each in enumerate(old.children, 1)]
    runs(new.workers[0], 11, "waiting")
    made = moves(new, [*running, new.workers[0]])
    assert (made.begin, made.retire, made.fork) == ([new.workers[0]], [], [])
    runs(new.workers[0], 11)
    made = moves(new, [*running, new.workers[0]])
    assert (made.begin, made.retire, made.fork) == ([], [old.workers[0]], [new.workers[1]])


def test_a_single_process_begins_when_the_one_before_it_is_dead() -> None:
    """It is told to retire when its successor waits, and not before."""
    old, new = household(), household()
    before, after = runs(old.delivery, 1), runs(new.delivery, 2, "forked")
    assert moves(new, [before, after]).retire == []
    runs(after, 2, "waiting")
    made = moves(new, [before, after])
    assert (made.begin, made.retire) == ([], [before])
    before.retire(30.0, by=100.0)
    made = moves(new, [before, after])
    assert (made.begin, made.retire) == ([], [])
    assert moves(new, [after]).begin == [after]


def test_what_the_new_configuration_has_no_more_goes() -> None:
    """As the process of [metrics]."""
    new = household()
    metrics = runs(child("metrics", 9), 9)
    running = [runs(each, pid) for pid, each in enumerate(new.children, 1)]
    made = moves(new, [*running, metrics])
    assert made.retire == [metrics]
    assert not made.is_done
    assert moves(new, running).is_done


def test_a_reader_that_does_not_end_holds_nothing_up() -> None:
    """Not even SIGKILL ends one that waits for a disk."""
    new = household()
    running = [runs(each, pid) for pid, each in enumerate(new.children, 1)]
    made = moves(new, [*running, runs(child("configuration"), 9, "forked")])
    assert made.is_done
    assert made.retire == []


@settings(max_examples=60)
@given(st.data())
def test_whatever_happens_meanwhile_clients_are_served_and_nobody_works_twice(data: st.DataObject) -> None:
    """Deaths at any time: once they cease, everything is replaced. Only deaths leave fewer workers than before."""
    old, new = household(3), household(3)
    pid = Count()
    running = [runs(each, pid()) for each in old.children]
    for each in (new.workers[0], new.delivery):
        running.append(runs(each, pid(), "waiting"))
    killed = 0
    for turn in range(400):
        made = moves(new, running)
        if made.is_done:
            break
        for each in made.begin:
            assert each.is_waiting
            assert not each.has_begun
            each.has_begun = True
        for each in made.retire:
            assert each not in new.children
            each.retire(1.0, by=1.0)
        for each in [*made.fork, *(each for each in new.children if each.due is not None)]:
            assert not each.pid
            running.append(runs(each, pid(), "forked"))
        assert sum(each.has_begun for each in running if each.role == "delivery") <= 1
        serving = [each for each in running if each.is_worker and each.is_ready and each.retire_by is None]
        assert len(serving) >= 3 - killed
        some: Any = data.draw(st.sampled_from(running)) if turn < 60 else running[turn % len(running)]
        if turn < 60 and data.draw(st.integers(0, 5)) == 0:
            killed += some.is_worker
            running.remove(dies(some))
            some.due = 0.0 if some in new.children else None
        elif some.retire_by is not None:
            running.remove(dies(some))
        elif not some.is_waiting:
            some.is_waiting = True
        elif some.has_begun:
            some.is_ready = True
    assert made.is_done
    assert set(running) - {each for each in running if each.retire_by is not None} == set(new.children)
