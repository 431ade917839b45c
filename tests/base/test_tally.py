"""The tally: what clients do in all workers together."""

import gc
import os

import pytest

from relayd.base.tally import Hand, Tally

HOUR = 3600.0
ANNA, BERT = b"\x0a\0\0\1", b"\x0a\0\0\2"


def hands(count: int = 2) -> list[Hand]:
    """One for each worker."""
    tally = Tally(count)
    return [tally.hand(number) for number in range(count)]


def test_what_one_worker_counts_another_sees() -> None:
    """Sessions, messages and recipients."""
    one, other = hands()
    one.opened(ANNA, 0.0)
    other.opened(ANNA, 0.0)
    one.sent(ANNA, 0.0, messages=1, recipients=3)
    other.sent(ANNA, 0.0, messages=1, recipients=1)
    assert other.sessions(ANNA) == 2
    assert other.own_sessions(ANNA) == 1
    assert other.in_hour(ANNA, 0.0) == (2, 4)
    assert other.sessions(BERT) == 0
    assert other.in_hour(BERT, 0.0) == (0, 0)


def test_a_forked_worker_counts_into_the_same_memory() -> None:
    """As the master hands it on."""
    one, other = hands()
    pid = os.fork()
    if pid == 0:
        other.opened(ANNA, 0.0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert one.sessions(ANNA) == 1


def test_the_sessions_of_a_dead_worker_count_no_more() -> None:
    """What it has taken in this hour does."""
    one, other = hands()
    one.opened(ANNA, 0.0)
    other.opened(ANNA, 0.0)
    one.sent(ANNA, 0.0, messages=5, recipients=5)
    one.begin()
    assert other.sessions(ANNA) == 1
    assert other.in_hour(ANNA, 0.0) == (5, 5)


def test_each_worker_knows_how_many_more_sessions_another_has() -> None:
    """Of all clients together; nobody has more than the one with the most."""
    one, other = hands()
    assert one.lead() == other.lead() == 0
    for client in (ANNA, ANNA, BERT):
        one.opened(client, 0.0)
    other.opened(BERT, 0.0)
    assert (one.lead(), other.lead()) == (0, 2)
    one.begin()
    assert (one.lead(), other.lead()) == (1, 0)


def test_an_hour_later_all_begins_anew() -> None:
    """And the sessions go on."""
    one, _ = hands()
    one.opened(ANNA, 0.0)
    one.sent(ANNA, 0.0, messages=5, recipients=5)
    assert one.in_hour(ANNA, HOUR) == (0, 0)
    one.sent(ANNA, HOUR, messages=1)
    assert one.in_hour(ANNA, HOUR) == (1, 0)
    assert one.sessions(ANNA) == 1


def test_a_session_that_was_not_counted_takes_none_away() -> None:
    """It would make the number of others wrong, or a huge one."""
    one, _ = hands()
    one.closed(ANNA)
    one.opened(ANNA, 0.0)
    one.closed(ANNA)
    one.closed(ANNA)
    assert one.sessions(ANNA) == 0


def test_more_clients_than_places_neither_fail_nor_disturb_sessions() -> None:
    """Those that have sessions keep their entry, and all others are at most forgotten."""
    one, _ = hands()
    for _ in range(3):
        one.opened(ANNA, 0.0)
    for number in range(40_000):
        one.sent(number.to_bytes(8), 0.0, messages=1)
    assert one.sessions(ANNA) == 3
    for _ in range(3):
        one.closed(ANNA)
    assert one.sessions(ANNA) == 0


def test_where_all_places_are_taken_by_sessions_a_client_is_not_counted() -> None:
    """Nothing grows."""
    one, _ = hands()
    for number in range(60_000):
        one.opened(number.to_bytes(8), 0.0)
    counted = sum(one.sessions(number.to_bytes(8)) for number in range(60_000))
    assert 10_000 < counted <= 16_384
    for number in range(60_000):
        one.closed(number.to_bytes(8))
    assert sum(one.sessions(number.to_bytes(8)) for number in range(60_000)) == 0


def test_there_is_one_hand_a_part() -> None:
    """A number beyond is a defect."""
    with pytest.raises(ValueError, match="part 2 of 2"):
        Tally(2).hand(2)


def test_a_tally_is_handed_on_by_descriptor() -> None:
    """What was counted counts on, under the same key."""
    tally = Tally(2)
    tally.hand(0).opened(ANNA, 0.0)
    again = Tally.of(os.dup(tally.fileno()))
    assert again.parts == 2
    assert again.hand(1).sessions(ANNA) == 1
    again.hand(1).opened(ANNA, 0.0)
    assert tally.hand(0).sessions(ANNA) == 2


def test_a_descriptor_of_something_else_is_no_tally() -> None:
    """ValueError instead of wrong numbers; and the descriptor, which was handed over, is given back."""
    fd = os.memfd_create("something")
    os.ftruncate(fd, 4096)
    with pytest.raises(ValueError, match="another version"):
        Tally.of(fd)
    gc.collect()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


def test_a_part_that_comes_into_use_later_is_seen_by_those_before() -> None:
    """As that of a worker that replaces another one; and parts that nobody has used are not looked at."""
    tally = Tally(50)
    first = tally.hand(0)
    assert first.sessions(ANNA) == 0
    late = tally.hand(7)
    late.opened(ANNA, 0.0)
    late.sent(ANNA, 0.0, messages=2, recipients=3)
    assert first.sessions(ANNA) == 1
    assert first.in_hour(ANNA, 0.0) == (2, 3)
