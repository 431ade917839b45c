"""Counters: each process writes its own slot, and everybody with the board reads the same numbers."""

import os

import pytest

from relayd.base.counters import GAUGES, SLOT, TOTALS, Board, total


def test_slots_do_not_touch_each_other() -> None:
    """Every name has its own place in each slot."""
    board = Board(3)
    names = TOTALS + GAUGES
    for index in range(3):
        for place, name in enumerate(names):
            board.slot(index).set(name, 1000 * index + place)
    for index in range(3):
        assert [board.slot(index).get(name) for name in names] == [1000 * index + n for n in range(len(names))]


def test_a_new_board_begins_at_nothing() -> None:
    """All numbers of all slots."""
    board = Board(2)
    assert {board.slot(index).get(name) for index in range(2) for name in TOTALS + GAUGES} == {0}


def test_the_sum_is_over_all_slots() -> None:
    """Totals of all processes together."""
    board = Board(3)
    board.slot(1).add("accepted", 2)
    board.slot(2).add("accepted")
    assert total([board.slot(index) for index in range(3)], "accepted") == 3


def test_folding_keeps_totals_and_forgets_gauges() -> None:
    """What a dead process has done still counts; what it had open is gone."""
    board = Board(2)
    board.slot(0).add("accepted", 5)
    board.slot(1).add("accepted", 7)
    board.slot(1).set("open_sessions", 3)
    board.slot(1).fold_into(board.slot(0))
    assert board.slot(0).get("accepted") == 12
    assert board.slot(0).get("open_sessions") == 0
    assert [board.slot(1).get(name) for name in ("accepted", "open_sessions")] == [0, 0]


def test_a_child_writes_what_its_parent_reads() -> None:
    """The memory is shared over a fork."""
    board = Board(2)
    pid = os.fork()
    if pid == 0:
        board.slot(1).add("accepted", 1 << 40)
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.slot(1).get("accepted") == 1 << 40


def test_a_process_with_the_descriptor_reads_the_same_memory() -> None:
    """The board can be handed on, and outlives the descriptor it was handed on by."""
    board = Board(4)
    fd = os.dup(board.fileno())
    other = Board.of(fd)
    os.close(fd)
    board.slot(3).add("delivered", 9)
    assert other.slots == 4
    assert other.slot(3).get("delivered") == 9


def test_a_board_of_another_layout_is_refused() -> None:
    """Numbers are never read under wrong names."""
    fd = os.memfd_create("other")
    os.ftruncate(fd, SLOT)
    with pytest.raises(ValueError, match="another version"):
        Board.of(fd)
    os.close(fd)


def test_a_slot_has_room_for_every_counter() -> None:
    """And for the mark of the layout, which the first slot carries."""
    assert len(TOTALS + GAUGES) < SLOT // 8
    assert len(set(TOTALS + GAUGES)) == len(TOTALS + GAUGES)
