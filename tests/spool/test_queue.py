"""The queue: what a start finds, what a look costs, and what is kept in memory."""

import errno

import pytest

from relayd.spool.errors import SpoolError, WrongSpool
from relayd.spool.ids import Ids
from relayd.spool.job import Settlement
from relayd.spool.layout import name_of
from relayd.spool.outcome import Kind
from relayd.spool.queue import Queue
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, LONGEST
from tests.spool.exchange import notice, outcome
from tests.spool.hall import DAY, ID, LATER, NOW, OTHER, Hall, message

DELIVERED = outcome(Kind.DELIVERED, 0)
DEFERRED = outcome(Kind.DEFERRED, 0)
FAILED = outcome(Kind.FAILED, 0)

SIZE = len(message())
GOOD = name_of(OTHER, SIZE)
OURS = name_of(ID, SIZE)


# A start.


def test_a_start_says_what_it_found() -> None:
    """In one value."""
    hall = Hall()
    hall.put("new", Ids().next())
    hall.put("cur", Ids().next(), mtime=NOW + 10)
    hall.put("hold", Ids().next())
    hall.disk.put(LAYOUT.journal(Ids().next()), b"")
    hall.disk.put(LAYOUT.draft(Ids().next()), b"half")
    hall.disk.put(LAYOUT.message("new", "stranger"), b"")
    hall.start()
    found = hall.found
    assert (found.waiting, found.scheduled, found.held, found.orphans) == (1, 1, 1, 1)
    assert (found.swept, found.notices, found.set_aside) == (1, 0, 1)
    hall.queue.tidy()
    assert hall.disk.take_all(LAYOUT.folder("journal")) == {}


def test_drafts_of_a_worker_that_lives_on_are_left_alone() -> None:
    """Its master was killed, and another relay begins beside it."""
    hall = Hall()
    fd = hall.disk.create(LAYOUT.draft(ID))
    hall.disk.lock(fd)
    other = hall.disk.create(LAYOUT.draft(OTHER))
    hall.disk.close(other)
    hall.queue = Queue(LAYOUT, hall.told.append, longest=LONGEST, disk=hall.disk, now=hall.disk.clock)
    assert hall.queue.recover().swept == 1
    assert hall.where() == {"tmp": [ID]}
    hall.disk.close(fd)
    hall.look()
    assert hall.where() == {}


def test_a_draft_that_was_just_made_is_not_taken_for_a_left_over() -> None:
    """A worker that lives makes the file first and locks it then; the sweep may come between the two."""
    hall = Hall()
    fd = hall.disk.create(LAYOUT.draft(ID))
    hall.disk.resting = lambda seconds: hall.disk.lock(fd)
    hall.queue = Queue(LAYOUT, hall.told.append, longest=LONGEST, disk=hall.disk, now=hall.disk.clock)
    assert hall.queue.recover().swept == 0
    assert hall.where() == {"tmp": [ID]}


def test_a_real_lock_ends_with_its_holder(real_spool: RealSpool) -> None:
    """As the sweep believes."""
    disk, path = real_spool.disk, real_spool.layout.draft(ID)
    writing = disk.create(path)
    disk.lock(writing)
    reading = disk.open(path)
    assert disk.is_locked(reading)
    disk.close(writing)
    assert not disk.is_locked(reading)
    disk.close(reading)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_half_queued_notification_is_finished_or_dropped(is_known: bool) -> None:
    """As the journal says; and never queued twice."""
    hall = Hall()
    hall.put("new")
    job = hall.job()
    stops = "/journal/" if not is_known else "/tmp/"
    operation = "open_append" if not is_known else "rename"
    calm = hall.have_fail(operation, errno.EIO, stops)
    with pytest.raises(SpoolError):
        hall.settle(job, FAILED, notices=(notice(job, 1),))
    hall.disk.fault = calm
    hall.start()
    assert hall.found.notices == int(is_known)
    assert "tmp" not in hall.where()
    jobs = {job.envelope.reverse_path: job for job in hall.take()}
    original = jobs["originator@example.org"]
    assert original.open == (() if is_known else (0,))
    assert (None in jobs) == is_known


def test_a_half_queued_notification_whose_journal_is_unreadable_is_kept_for_a_person() -> None:
    """It may be owed."""
    hall = Hall()
    hall.disk.put(LAYOUT.journal(ID), b"nonsense\n")
    hall.disk.put(LAYOUT.prepared(ID, 1), message())
    hall.start()
    assert hall.where() == {"failed": [f"{ID}.1"]}


def test_a_start_reads_each_folder_a_few_times_however_many_journals_there_are() -> None:
    """A queue of a hundred thousand must be there within a second."""
    hall = Hall()
    for number in range(200):
        message_id = Ids().next()
        hall.put("cur", message_id, mtime=NOW + number)
        hall.disk.put(LAYOUT.journal(message_id), b"")
    hall.disk.calls.clear()
    hall.start()
    assert sum(operation == "names" for operation, _ in hall.disk.calls) <= 8
    assert sum(operation == "open" and "/journal/" in path for operation, path in hall.disk.calls) == 0
    assert hall.found.scheduled == 200


def test_while_nothing_changes_a_look_costs_next_to_nothing() -> None:
    """A folder is read when its time says so; files are looked at in portions."""
    hall = Hall()
    for number in range(5000):
        hall.put("cur", Ids().next(), mtime=NOW + 1000 + number)
    hall.look()
    hall.go_on(10)
    hall.look()
    hall.go_on(10)
    hall.disk.calls.clear()
    hall.look()
    operations = [operation for operation, _ in hall.disk.calls]
    assert operations.count("names") == 0
    assert operations.count("lstat") <= 1000 + 3


def test_a_change_in_the_tick_of_a_look_is_seen_by_the_next() -> None:
    """The folder's time is the same before and after it."""
    hall = Hall()
    hall.put("new", Ids().next())
    assert len(hall.take()) == 1
    hall.put("new", Ids().next())
    assert len(hall.take()) == 1


def test_a_spool_of_another_version_is_not_touched() -> None:
    """Nothing is set aside there."""
    hall = Hall()
    hall.put("new")
    hall.disk.put(f"{LAYOUT.root}/format", b"relayd spool 2\n")
    with pytest.raises(WrongSpool, match="is in format 2"):
        hall.start()
    assert hall.where() == {"new": [OURS]}


def test_mail_data_beyond_the_memory_for_it_stays_on_disk() -> None:
    """And is read from there."""
    hall = Hall()
    for _ in range(600):
        hall.put("new", Ids().next(), content=message(mail_data=b"x" * 60_000))
    hall.look()
    jobs = hall.queue.take(1000, NOW)
    cached = [job for job in jobs if hall.queue.cached(job) is not None]
    assert 500 < len(cached) < 600
    (*_, last) = jobs
    assert b"".join(hall.queue.read(last)) == b"x" * 60_000
    for job in jobs:
        hall.settle(job, DELIVERED)
    hall.put("new", Ids().next())
    assert hall.queue.cached(hall.job()) is not None


def test_a_message_that_comes_is_taken_before_a_thousand_that_were_there() -> None:
    """Also when the folder was read before the word of it came."""
    hall = Hall()
    ids = Ids()
    for _ in range(1000):
        hall.put("new", ids.next())
    fresh, other = ids.next(), ids.next()
    hall.put("new", fresh)
    hall.start()
    hall.put("new", other)
    hall.queue.hear([name_of(fresh, SIZE), name_of(other, SIZE)])
    taken = [job.id for job in hall.queue.take(4, NOW)]
    assert {fresh, other} < set(taken)
    rest = hall.queue.take(2000, NOW)
    assert len({*taken, *(job.id for job in rest)}) == len(taken) + len(rest) == 1002


def test_nonsense_in_a_hint_does_nothing() -> None:
    """The folders are the truth."""
    hall = Hall()
    hall.queue.hear(["", "../../etc/passwd", "\ufffd", OURS, name_of(ID, 7)])
    assert hall.queue.take(10, NOW) == []
    assert (hall.set_aside(), hall.troubles()) == ({}, [])


def test_the_longest_wait_is_not_exceeded_by_a_restore() -> None:
    """Files whose times are of tomorrow are tried within it."""
    hall = Hall()
    for number in range(3):
        hall.put("cur", Ids().next(), mtime=NOW + number * 100 * DAY + 1)
    hall.look()
    assert len(hall.take(NOW + LONGEST)) == 3


# In doubt.


def test_a_message_that_is_to_be_held_goes_to_hold_with_its_journal() -> None:
    """It is not due there, and a person who moves it back has it tried."""
    hall = Hall()
    name = hall.commit("one")
    job = hall.job()
    hall.queue.settle(Settlement(job, (outcome(Kind.IN_DOUBT, 0),), LATER, hold=True))
    assert hall.where() == {"hold": [name]}
    hall.go_on(DAY)
    assert hall.take(LATER.timestamp() + DAY) == []
    hall.move(name, "hold", "new")
    (again,) = hall.take()
    assert (again.attempt, again.is_cut) == (2, False)


def test_an_attempt_that_was_cut_past_its_dot_shows_at_the_next_claim() -> None:
    """The journal ends with the doubt; what was settled has a date after it."""
    hall = Hall()
    hall.commit("one")
    hall.queue.record(hall.job(), [outcome(Kind.IN_DOUBT, 0)])
    hall.start()
    job = hall.job()
    assert job.is_cut
    hall.settle(job, outcome(Kind.IN_DOUBT, 0, attempt=2))
    assert not hall.job(LATER.timestamp()).is_cut


# A delay.


def test_that_a_message_is_late_is_told_once() -> None:
    """The notification is queued, the message waits on, and its journal says that it was told."""
    hall = Hall()
    hall.commit("one")
    job = hall.job()
    assert not job.is_warned
    hall.settle(job, outcome(Kind.DEFERRED, 0), notices=(notice(job, 0),))
    (warning,) = hall.take()
    assert warning.envelope.reverse_path is None
    hall.settle(warning, outcome(Kind.DELIVERED, 0))
    assert hall.job(LATER.timestamp()).is_warned


# Told together with others.


def test_a_failure_that_is_to_be_told_later_stays_owed() -> None:
    """It is recorded, and the message comes again for that alone."""
    hall = Hall()
    hall.commit("one")
    hall.queue.settle(Settlement(hall.job(), (FAILED,), LATER, owe=True))
    hall.start()
    job = hall.job(LATER.timestamp())
    assert (job.open, [each.attempt for each in job.owed]) == ((), [1])


def test_a_failure_that_another_notification_told_of_is_told() -> None:
    """The message ends without one of its own, and the ledger has it as failed, not as undeliverable."""
    hall = Hall()
    hall.commit("one")
    assert hall.queue.settle(Settlement(hall.job(), (FAILED,), LATER, told_by=OTHER))
    assert hall.where() == {}
    ((_, content),) = hall.disk.take_all(LAYOUT.folder("ledger")).items()
    assert b'"failed"' in content
    assert b'"undeliverable"' not in content


# What a person wants tried now.


def test_mail_that_has_just_come_is_not_urgent() -> None:
    """Nor is a notification about a message that came long ago: both share the rest of their destination."""
    hall = Hall()
    hall.commit()
    job = hall.job()
    assert not job.is_urgent
    hall.go_on(DAY)
    hall.settle(job, FAILED, notices=(notice(job, 1),))
    notification = hall.job(NOW + DAY)
    assert (notification.envelope.reverse_path, notification.is_urgent) == (None, False)


def test_what_is_moved_to_new_by_hand_is_urgent() -> None:
    """One that was tried before, one that was postponed untried, and one that was held for a while."""
    hall = Hall()
    name = hall.commit()
    hall.queue.put_back(hall.job(), LATER)
    hall.move(name, "cur", "new")
    job = hall.job()
    assert job.is_urgent
    hall.settle(job, DEFERRED)
    hall.move(name, "cur", "new")
    job = hall.job()
    assert job.is_urgent
    hall.settle(job, DELIVERED)
    hall.put("hold", OTHER, mtime=NOW - DAY)
    hall.move(GOOD, "hold", "new")
    assert hall.job().is_urgent
