"""Counters: each process writes its own slot, and everybody with the board reads the same numbers."""

import gc
import os

import pytest

from relayd.base.counters import BOUNDS, CODES, CONDITION, GAUGES, HISTOGRAMS, SLOT, TOTALS, VERBS, Board, total


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
    """The board can be handed on."""
    board = Board(4)
    other = Board.of(os.dup(board.fileno()))
    board.slot(3).add("delivered", 9)
    assert other.slots == 4
    assert other.slot(3).get("delivered") == 9


def test_a_board_of_another_layout_is_refused() -> None:
    """Numbers are never read under wrong names; and the descriptor, which was handed over, is given back."""
    fd = os.memfd_create("other")
    os.ftruncate(fd, SLOT)
    with pytest.raises(ValueError, match="another version"):
        Board.of(fd)
    gc.collect()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


def test_a_slot_has_room_for_every_counter() -> None:
    """And for the marks of the layout and of a fold, which stand at the end of the first slot."""
    board = Board(1)
    slot = board.slot(0)
    for name in HISTOGRAMS:
        slot.observe(name, 1000.0)
    slot.set(CONDITION[-1], 7)
    assert Board.of(os.dup(board.fileno())).slot(0).get(CONDITION[-1]) == 7
    assert len(set(TOTALS + GAUGES)) == len(TOTALS + GAUGES)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-1.0, 0), (0.0, 0), (0.0005, 0), (0.00051, 1), (0.2, 8), (300.0, len(BOUNDS) - 1), (1e6, len(BOUNDS))],
)
def test_a_duration_is_counted_in_the_bucket_whose_bound_it_does_not_pass(seconds: float, bucket: int) -> None:
    """A bound is part of its bucket, and what is above all has one more."""
    slot = Board(1).slot(0)
    slot.observe("dns_seconds", seconds)
    buckets, together = slot.histogram("dns_seconds")
    assert [place for place, count in enumerate(buckets) if count] == [bucket]
    assert len(buckets) == len(BOUNDS) + 1
    assert together == int(max(0.0, seconds) * 1_000_000)
    assert sum(slot.histogram("commit_seconds").buckets) == 0


def test_many_durations_are_counted_as_one_by_one() -> None:
    """And none at all changes nothing."""
    board = Board(2)
    values = (0.0004, 0.02, 0.02, 1000.0)
    board.slot(0).observe("fsync_seconds", *values)
    board.slot(0).observe("fsync_seconds")
    for each in values:
        board.slot(1).observe("fsync_seconds", each)
    assert board.slot(0).histogram("fsync_seconds") == board.slot(1).histogram("fsync_seconds")


def test_a_bucket_is_handed_on_under_the_name_of_its_bound() -> None:
    """A version with other bounds takes it for no other bucket."""
    slot = Board(1).slot(0)
    slot.observe("dns_seconds", 0.2, 400.0)
    assert slot.grown() == {"dns_seconds 0.25": 1, "dns_seconds above": 1, "dns_seconds sum": 400_200_000}


def test_verbs_and_codes_that_nobody_knows_are_counted_together() -> None:
    """Whatever a reply of the future is, there is a place for it."""
    slot = Board(1).slot(0)
    slot.set_dialogue({"MAIL": 3, "other": 2, "XFROB": 4}, {250: 5, 299: 6, 298: 1})
    assert {verb: count for verb, count in slot.commands().items() if count} == {"MAIL": 3, "other": 6}
    assert {code: count for code, count in slot.replies().items() if count} == {"250": 5, "other": 7}
    assert (set(slot.commands()), set(slot.replies())) == (set(VERBS), set(CODES))


def test_folding_keeps_histograms_verbs_and_codes() -> None:
    """They grow over the deaths of processes like all totals."""
    board = Board(2)
    for slot in (board.slot(0), board.slot(1)):
        slot.set_dialogue({"MAIL": 3}, {250: 5})
        slot.observe("commit_seconds", 0.02)
    board.slot(1).set("heartbeat", 5)
    board.slot(1).fold_into(board.slot(0))
    first, second = board.slot(0), board.slot(1)
    assert (first.commands()["MAIL"], first.replies()["250"]) == (6, 10)
    assert sum(first.histogram("commit_seconds").buckets) == 2
    assert first.histogram("commit_seconds").microseconds == 40_000
    assert (second.commands()["MAIL"], sum(second.histogram("commit_seconds").buckets)) == (0, 0)
    assert second.get("heartbeat") == first.get("heartbeat") == 0


def test_a_copy_stays_as_it_was() -> None:
    """Whoever adds numbers up sees them all at one instant."""
    board = Board(3)
    board.slot(2).add("accepted", 4)
    copied = board.copy()
    assert copied is not None
    board.slot(2).add("accepted")
    assert [slot.get("accepted") for slot in copied] == [0, 0, 4]


def test_no_copy_is_made_while_numbers_are_on_their_way() -> None:
    """A sum over slots would have them twice, and be less a moment later."""
    board = Board(2)
    board.slot(1).add("accepted", 4)
    seen: list[object] = []

    class Watched(type(board.slot(0))):  # type: ignore[misc]
        """Tries to copy in the middle of the fold."""

        def add(self, name: str, count: int = 1) -> None:
            super().add(name, count)
            seen.append(board.copy())

    board.slot(1).fold_into(Watched(board.slot(0)._numbers))
    assert seen == [None]
    copied = board.copy()
    assert copied is not None
    assert total(copied, "accepted") == 4


def test_a_sum_never_falls_while_processes_die() -> None:
    """A reader in another process, and a thousand folds."""
    board = Board(2)
    pid = os.fork()
    if pid == 0:
        slot, first = board.slot(1), board.slot(0)
        for _ in range(1000):
            slot.add("accepted", 10)
            slot.fold_into(first)
        os._exit(0)
    highest = 0
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        copied = board.copy()
        if copied is not None:
            now = total(copied, "accepted")
            assert highest <= now <= 10_000
            highest = now
    copied = board.copy()
    assert copied is not None
    assert total(copied, "accepted") == 10_000
