"""Each call to the disk fails in turn, once or for a while: nothing is lost or sent twice, and work goes on."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

import pytest

from relayd.base import events
from relayd.spool.errors import SpoolError, SpoolFailed, SpoolFull
from relayd.spool.intake import Draft, Intake, Memory
from relayd.spool.layout import parse_name
from relayd.spool.outcome import Kind
from relayd.spool.queue import Queue
from tests.spool.crash import LAYOUT, memory_disk, queue_on
from tests.spool.exchange import Exchange, envelope
from tests.spool.memory_disk import MemoryDisk

MAIL = b"Subject: hello\r\n\r\nHello.\r\n"
ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE]


def failing(number: int, error: int, times: int = 1) -> Callable[[str, str], None]:
    """A fault from the call of this number on, so many times."""
    calls = 0

    def fault(operation: str, path: str) -> None:
        nonlocal calls
        calls += 1
        if number <= calls < number + times:
            raise OSError(error, os.strerror(error), path)

    return fault


# The way in.


def commit_three(disk: MemoryDisk, early: int = 0) -> tuple[list[Draft], list[str | SpoolError]]:
    """A group; the first ones are written before its turn."""
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    drafts = [intake.begin(envelope()) for _ in range(3)]
    for draft in drafts:
        draft.write(MAIL)
    return drafts, intake.commit(drafts[:early], more=lambda: drafts[early:]) if early else intake.commit(drafts)


def test_what_comes_while_a_group_waits_for_its_turn_is_written_like_the_others() -> None:
    """The same calls, in another order."""
    calls = []
    for early in (0, 2, 3):
        disk = memory_disk()
        commit_three(disk, early)
        calls.append(sorted(operation for operation, _ in disk.calls))
    assert calls[0] == calls[1] == calls[2]


def test_what_is_only_written_is_no_message() -> None:
    """It is written before its turn, and is one at the end of that."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    draft = intake.begin(envelope())
    draft.write(MAIL)

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        assert disk.take_all(LAYOUT.folder("new")) == {}
        assert next(iter(disk.take_all(LAYOUT.folder("tmp")).values())).endswith(MAIL)
        yield
        assert disk.take_all(LAYOUT.folder("new")) != {}

    (name,) = intake.commit([draft], turn())
    assert disk.take_all(LAYOUT.folder("new")).keys() == {name}


def test_of_a_large_group_no_more_files_are_open_than_may_be() -> None:
    """Sessions need descriptors too, and no more are taken in than came before the turn."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    drafts = [intake.begin(envelope()) for _ in range(700)]
    opened: list[int] = []

    def fault(operation: str, path: str) -> None:
        opened.append(sum(draft.fd >= 0 for draft in drafts))

    disk.fault = fault
    given = iter([drafts[300:]])
    names = intake.commit(drafts[:300], more=lambda: next(given))
    assert len(set(names)) == 700
    assert disk.take_all(LAYOUT.folder("new")).keys() == set(names)
    assert 1 < max(opened) <= 128


@pytest.mark.parametrize("early", [0, 2, 3])
@pytest.mark.parametrize("error", ERRORS)
def test_a_failing_call_fails_the_draft_it_is_for(error: int, early: int) -> None:
    """Who hears a name has a message, who does not has none, but where the folder's sync failed."""
    calm = memory_disk()
    calm.calls.clear()
    commit_three(calm, early)
    for number in range(1, len(calm.calls) + 1):
        disk = memory_disk()
        disk.fault = failing(number, error)
        drafts, results = commit_three(disk, early)
        disk.fault = lambda operation, path: None
        there = disk.take_all(LAYOUT.folder("new"))
        uncertain = [each for each in results if isinstance(each, SpoolFailed) and each.uncertain]
        assert {each for each in results if isinstance(each, str)} | set(uncertain and there) == set(there)
        for draft, result in zip(drafts, results, strict=True):
            if isinstance(result, str):
                assert there[result].endswith(MAIL)
                assert parse_name(result) == (draft.id, len(there[result]))
            elif error in (errno.ENOSPC, errno.EDQUOT) and not uncertain:
                assert isinstance(result, SpoolFull)
        assert disk.take_all(LAYOUT.folder("tmp")) == {}
        assert len(uncertain) in (0, 3)


def test_where_memory_is_short_a_draft_is_written_before_its_end() -> None:
    """All drafts together have a bound; below it each stays in memory, and what is over gives its room back."""
    disk = memory_disk()
    memory = Memory(100_000)
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock, memory=memory)
    drafts = [intake.begin(envelope()) for _ in range(20)]
    for draft in drafts[:10]:
        draft.write(MAIL + b"x" * 8000)
    assert not any(draft.must_spill for draft in drafts)
    for draft in drafts[10:]:
        draft.write(MAIL + b"x" * 8000)
    assert all(draft.must_spill for draft in drafts)
    for draft in drafts[:9]:
        draft.spill()
        draft.write(b"the end\r\n")
    assert not any(draft.must_spill for draft in drafts)
    results = intake.commit(drafts[:15])
    for draft in drafts[15:]:
        draft.discard()
    content = disk.take_all(LAYOUT.folder("new"))
    assert sorted(content) == sorted(map(str, results))
    assert sum(each.endswith(b"xthe end\r\n") for each in content.values()) == 9
    again = intake.begin(envelope())
    again.write(b"x" * 90_000)
    assert not again.must_spill


def test_the_hint_to_write_back_may_fail() -> None:
    """Some file systems do not know it."""
    disk = memory_disk()

    def fault(operation: str, path: str) -> None:
        if operation == "start_write_back":
            raise OSError(errno.EINVAL, "Invalid argument")

    disk.fault = fault
    assert all(isinstance(each, str) for each in commit_three(disk)[1])


def test_after_a_failed_sync_of_the_folder_nothing_is_taken() -> None:
    """The next sync would say that all is well."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)

    def fault(operation: str, path: str) -> None:
        if operation == "sync_folder":
            raise OSError(errno.EIO, "Input/output error")

    for disk.fault in (fault, lambda operation, path: None):
        draft = intake.begin(envelope())
        (result,) = intake.commit([draft])
        assert isinstance(result, SpoolFailed)


def test_a_mistake_of_ours_loses_no_draft_silently() -> None:
    """The others of the group are messages, its own client hears of it, and nothing stays in tmp/."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    drafts = [intake.begin(envelope()) for _ in range(3)]
    drafts[1]._unwritten = ["not octets"]  # type: ignore[assignment]
    results = intake.commit(drafts)
    assert [isinstance(each, str) for each in results] == [True, False, True]
    assert isinstance(results[1], SpoolFailed)
    assert len(disk.take_all(LAYOUT.folder("new"))) == 2
    assert disk.take_all(LAYOUT.folder("tmp")) == {}


def test_a_draft_whose_file_was_swept_is_no_message() -> None:
    """Its client hears 451, and no 250."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    draft = intake.begin(envelope())
    draft.spill()
    disk.unlink(LAYOUT.draft(draft.id))
    (result,) = intake.commit([draft])
    assert isinstance(result, SpoolFailed)
    assert result.reply.code == 451


# The way out.


def fails_first(index: int, attempt: int) -> Kind:
    """The first recipient fails, the second has to wait once, the others take it."""
    if index == 0:
        return Kind.FAILED
    return Kind.DEFERRED if index == 1 and attempt == 1 else Kind.DELIVERED


def deliver(
    disk: MemoryDisk, exchange: Exchange, groups: list[list[int]], fault: Callable[[str, str], None]
) -> Queue:
    """A message with three recipients, all of whose attempts meet the fault sooner or later."""
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    draft = intake.begin(envelope("one", "two", "three"))
    draft.write(MAIL)
    intake.commit([draft])
    told: list[events.Event] = []
    queue = queue_on(disk, told)
    queue.recover()
    disk.calls.clear()
    disk.fault = fault
    for hours in (1, 1, 1, 20, 1, 1, 1, 1):
        disk.clock.seconds += hours * 3600
        queue.scan("new")
        queue.scan("cur")
        for job in queue.take(10, disk.clock.seconds):
            whole = job.attempt == 1 and len(job.open) == 3
            exchange.attempt(queue, job, groups if whole else None)
        exchange.tidy(queue)
    assert not any(isinstance(event, events.QueueMoved) for event in told)
    return queue


@pytest.mark.parametrize("groups", [[[0, 1, 2]], [[0], [1], [2]]], ids=["one destination", "three"])
@pytest.mark.parametrize(("error", "times"), [(errno.EIO, 1), (errno.ENOSPC, 4), (errno.EMFILE, 4)])
def test_a_failing_call_loses_and_doubles_nothing(groups: list[list[int]], error: int, times: int) -> None:
    """Failure, deferral and success, each step of which is tried again until the disk takes it."""
    disk = memory_disk()
    deliver(disk, Exchange(fails_first), groups, lambda operation, path: None)
    for number in range(1, len(disk.calls) + 1):
        disk, exchange = memory_disk(), Exchange(fails_first, patience=times)
        queue = deliver(disk, exchange, groups, failing(number, error, times))
        assert {key[1]: count for key, count in exchange.taken.items() if not exchange.is_about(key)} == {
            1: 1,
            2: 1,
        }
        assert [count for key, count in exchange.taken.items() if exchange.is_about(key)] == [1], number
        assert queue.waiting == 0
        left = {folder: disk.take_all(LAYOUT.folder(folder)) for folder in ("tmp", "new", "cur", "hold", "failed")}
        assert not any(left.values()), (number, left)
