"""A generation: its children, their places, and the sockets that it shares with those before it."""

import gc
import socket
import weakref
from pathlib import Path

import pytest

from relayd.base.bound import Bound
from relayd.base.config import load
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.sections import Listener
from relayd.base.source import Source
from relayd.base.tally import Tally
from relayd.master.generation import Common, Plan, bury, generation, rebound
from relayd.master.places import MASTER, Places
from relayd.spool.hint import Hints


def common(folder: Path, slots: int = 20, parts: int = 8) -> Common:
    """Without sockets."""
    log = Log("json", folder / "log")
    return Common([], Hints(), Board(slots), Tally(parts), Places(slots, parts), log, workers=2, lock=1.0)


def plan(folder: Path) -> Plan:
    """The defaults."""
    source = Source.of(None, spool=folder / "spool")
    return Plan(source, source.config())


def test_each_child_has_a_place_of_its_own(tmp_path: Path) -> None:
    """Two generations share none."""
    shared = common(tmp_path)
    both = [*generation(plan(tmp_path), shared).children, *generation(plan(tmp_path), shared).children]
    assert len({each.place for each in both}) == len(both) == 6
    assert [each.role for each in both[:3]] == ["worker 1", "worker 2", "delivery"]
    assert [each.is_single for each in both[:3]] == [False, False, True]
    assert all(each.due is None for each in both)


def test_all_parts_of_a_generation_are_known_before_it_is_forked(tmp_path: Path) -> None:
    """So workers that begin at the same time need not write down which are in use."""
    shared = common(tmp_path)
    before = bytes(shared.tally.hand(0)._header)
    generation(plan(tmp_path), shared)
    known = bytes(shared.tally.hand(0)._header)
    assert known != before
    shared.tally.hand(1)
    assert bytes(shared.tally.hand(0)._header) == known


def test_a_generation_without_room_takes_no_place(tmp_path: Path) -> None:
    """IndexError, and what is free stays so."""
    shared = common(tmp_path, parts=3)
    generation(plan(tmp_path), shared)
    with pytest.raises(IndexError):
        generation(plan(tmp_path), shared)
    assert shared.places.has(1, 1)


def test_nothing_of_a_generation_stays_in_the_master(tmp_path: Path) -> None:
    """It goes without the collector, which does not look at what was there at a fork."""
    gc.disable()
    try:
        made = generation(plan(tmp_path), common(tmp_path))
        gone, served = weakref.ref(made), weakref.ref(made.delivery.serve)
        del made
        assert gone() is None
        assert served() is None
    finally:
        gc.enable()


def test_a_dead_child_leaves_its_numbers_and_its_place(tmp_path: Path) -> None:
    """And none of its sessions, which it may not have had the time to end."""
    shared = common(tmp_path, parts=2)
    made = generation(plan(tmp_path), shared)
    dead = made.workers[0]
    place = dead.place
    assert place is not None
    assert place.part is not None
    dead.slot.add("accepted", 5)
    shared.tally.hand(place.part).opened(b"client", 0.0)
    bury(dead, shared)
    assert shared.board.slot(MASTER).get("accepted") == 5
    assert shared.tally.hand(1).sessions(b"client") == 0
    assert shared.places.take(worker=True) == place
    # It is another one's now.
    bury(dead, shared)
    assert not shared.places.has(1, 0)


def test_sockets_stay_and_hear_what_another_configuration_says_of_them() -> None:
    """In whatever order it names them; several sockets of one name go together."""
    one, other = Listener("localhost", 25), Listener("127.0.0.2", 465, tls="implicit")
    sockets = [socket.socket() for _ in range(3)]
    bound = [Bound(sockets[0], one), Bound(sockets[1], one), Bound(sockets[2], other)]
    wanted = [Listener("127.0.0.2", 465, tls="off"), Listener("localhost", 25, auth="off")]
    found = rebound(bound, wanted)
    assert [each.socket for each in found] == sockets
    assert [each.listener for each in found] == [wanted[1], wanted[1], wanted[0]]
    for each in sockets:
        each.close()


def test_two_listeners_at_port_0_keep_their_order() -> None:
    """Equal but for what changed."""
    before = [Listener("127.0.0.1", 0), Listener("127.0.0.1", 0, tls="off")]
    sockets = [socket.socket() for _ in before]
    bound = [Bound(one, listener) for one, listener in zip(sockets, before, strict=True)]
    wanted = [Listener("127.0.0.1", 0, auth="off"), Listener("127.0.0.1", 0, tls="off", auth="off")]
    assert [each.listener for each in rebound(bound, wanted)] == wanted
    for each in sockets:
        each.close()


def test_the_defaults_are_a_plan() -> None:
    """What the tests above build on."""
    assert load(None).metrics is None
