"""Scheduling: a processor for each worker, where there are as many."""

import os
import threading

import pytest

from relayd.base.scheduling import processors, stay


def after(number: int, of: int) -> set[int]:
    """Where a thread may run that is one of so many."""
    found: list[tuple[bool, set[int]]] = []

    def run() -> None:
        found.append((stay(number, of), os.sched_getaffinity(0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ((has_its_own, processors_of_it),) = found
    assert has_its_own is (len(processors_of_it) < processors())
    return processors_of_it


@pytest.mark.skipif(processors() < 2, reason="this machine has one processor")
def test_each_of_as_many_as_there_are_processors_has_its_own() -> None:
    """All of them together have all."""
    every = [after(number, processors()) for number in range(processors())]
    assert [len(each) for each in every] == [1] * processors()
    assert set.union(*every) == os.sched_getaffinity(0)


@pytest.mark.parametrize("more", [-1, 1])
def test_where_there_are_fewer_or_more_they_go_where_they_like(more: int) -> None:
    """The system knows better then."""
    assert after(0, processors() + more) == os.sched_getaffinity(0)
