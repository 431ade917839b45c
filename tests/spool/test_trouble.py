"""A disk that fails or is full: nothing is set aside for it, sent twice or told each second."""

import contextlib
import errno
import json
import os

import msgspec
import pytest

from relayd.spool.errors import SpoolError, SpoolFull
from relayd.spool.ids import Ids
from relayd.spool.job import Settlement
from relayd.spool.layout import name_of
from relayd.spool.ledger import Fate
from relayd.spool.outcome import Kind, Scheduled
from tests.spool.crash import LAYOUT
from tests.spool.exchange import START, notice, outcome
from tests.spool.hall import ID, LATER, NOW, OTHER, Hall, message

DELIVERED = outcome(Kind.DELIVERED, 0)
DEFERRED = outcome(Kind.DEFERRED, 0)
FAILED = outcome(Kind.FAILED, 0)

SIZE = len(message())
GOOD = name_of(OTHER, SIZE)
OURS = name_of(ID, SIZE)


# A disk that fails.


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_descriptors_everything_waits(error: int) -> None:
    """It says nothing about any message, is told once, and does not turn in circles."""
    hall = Hall()
    for state in ("new", "cur"):
        for number in range(50):
            hall.put(state, Ids().next(), mtime=NOW - number)
    calm = hall.have_fail("open", error)
    for second in range(5):
        assert hall.take(NOW + second) == []
        assert hall.queue.next_due() == NOW + second + 1
    assert hall.troubles() == [f"open messages: {os.strerror(error)}"]
    assert len(hall.where()["new"]) == len(hall.where()["cur"]) == 50
    hall.disk.fault = calm
    assert len(hall.queue.take(1000, NOW + 10)) == 100


@pytest.mark.parametrize("error", [errno.EIO, errno.EINTR, errno.EAGAIN, errno.ESTALE])
@pytest.mark.parametrize("operation", ["lstat", "open", "read"])
@pytest.mark.parametrize("state", ["new", "cur"])
def test_a_message_that_the_disk_does_not_give_is_asked_for_again(error: int, operation: str, state: str) -> None:
    """Later; it is told once; the others go on."""
    hall = Hall()
    hall.put(state, mtime=NOW - 1)
    hall.put(state, OTHER, mtime=NOW)
    hall.look()
    calm = hall.have_fail(operation, error, ID)
    assert [job.id for job in hall.queue.take(10, NOW)] == [OTHER]
    for second in range(100):
        assert hall.queue.take(10, NOW + second) == []
    assert hall.troubles() == [f"open {ID}: {os.strerror(error)}"]
    hall.disk.fault = calm
    assert [job.id for job in hall.queue.take(10, NOW + 200)] == [ID]
    assert hall.set_aside() == {}


def test_a_folder_that_cannot_be_read_is_told_once() -> None:
    """And read when it can be."""
    hall = Hall()
    name = hall.put("new")
    calm = hall.have_fail("names", errno.EIO)
    for _ in range(5):
        hall.look()
    assert hall.troubles() == [f"read {folder}/: Input/output error" for folder in ("new", "cur", "tmp")]
    hall.disk.fault = calm
    assert name_of(hall.job().id, SIZE) == name


def test_a_folder_that_cannot_be_synced_keeps_journals() -> None:
    """What a failed sync has lost no later one will say; the next start sweeps them."""
    hall = Hall()
    hall.commit("one", "two")
    job = hall.job()
    hall.queue.record(job, [DELIVERED])
    hall.settle(job, outcome(Kind.DELIVERED, 1))
    calm = hall.have_fail("sync_folder", errno.EIO)
    hall.queue.tidy()
    hall.queue.tidy()
    hall.disk.fault = calm
    hall.queue.tidy()
    assert hall.troubles() == ["sync the spool's folders: Input/output error"]
    assert list(hall.disk.take_all(LAYOUT.folder("journal"))) == [job.id]
    hall.start()
    assert hall.found.orphans == 1
    hall.queue.tidy()
    assert hall.disk.take_all(LAYOUT.folder("journal")) == {}


def test_an_unlink_that_fails_leaves_word_of_the_success() -> None:
    """So that nobody gets it again from a file that cannot be taken away."""
    hall = Hall()
    name = hall.put("new")
    job = hall.job()
    calm = hall.have_fail("unlink", errno.EIO, "/new/")
    with pytest.raises(SpoolError, match=f"unlink {ID}: Input/output error"):
        hall.settle(job, DELIVERED)
    assert hall.journal(name) == [DELIVERED]
    hall.disk.fault = calm
    hall.start()
    assert hall.job().open == ()


# A full disk.


def test_a_full_disk_does_not_make_us_send_twice() -> None:
    """What comes of several recipients is recorded from the reserve."""
    hall = Hall()
    name = hall.commit("one", "two")
    job = hall.job()
    hall.fill()
    hall.queue.reserve(job)
    hall.queue.record(job, [DELIVERED])
    hall.settle(job, outcome(Kind.DEFERRED, 1))
    assert hall.journal(name)[:2] == [DELIVERED, outcome(Kind.DEFERRED, 1)]
    assert hall.job(LATER.timestamp()).open == (1,)


def test_with_the_reserve_spent_no_more_is_sent_to_several() -> None:
    """One recipient is no danger: it has the mail and the file goes, or it has not."""
    hall = Hall()
    for recipients in [("one", "two"), ("three", "four"), ("five",)]:
        hall.commit(*recipients)
    several, more, single = sorted(hall.take(), key=lambda job: job.id)
    hall.fill()
    while hall.queue._reserve.spend():
        hall.fill()
    for job in (several, more):
        with pytest.raises(SpoolFull):
            hall.queue.reserve(job)
    hall.queue.reserve(single)
    assert hall.settle(single, DELIVERED)
    hall.disk.capacity = None
    hall.queue.tidy()
    hall.queue.reserve(several)


def test_with_the_reserve_spent_nothing_is_sent_whose_success_may_have_to_be_told() -> None:
    """Its file stays until that is done, so that a crash before would send it again."""
    hall = Hall()
    hall.commit()
    job = hall.job()
    (recipient,) = job.envelope.recipients
    hall.fill()
    while hall.queue._reserve.spend():
        hall.fill()
    for notify, is_kept in (("SUCCESS,FAILURE", True), ("FAILURE", False), ("NEVER", False)):
        asking = msgspec.structs.replace(recipient, notify=notify)
        envelope = msgspec.structs.replace(job.envelope, recipients=(asking,))
        with pytest.raises(SpoolFull) if is_kept else contextlib.nullcontext():
            hall.queue.reserve(msgspec.structs.replace(job, envelope=envelope))


def test_a_reserve_that_is_not_whole_lets_out_as_many_as_it_has_room_for() -> None:
    """A small disk can have a small one."""
    hall = Hall()
    for number in range(4):
        hall.commit(str(number), "two")
    jobs = hall.take()
    while len(hall.queue._reserve) > 2:
        hall.queue._reserve.spend()
    hall.queue.reserve(jobs[0])
    hall.queue.reserve(jobs[0])
    hall.queue.reserve(jobs[1])
    with pytest.raises(SpoolFull):
        hall.queue.reserve(jobs[2])
    hall.queue.put_back(jobs[0])
    hall.queue.put_back(jobs[2])
    hall.queue.reserve(jobs[3])


def test_a_reservation_costs_no_call_to_the_disk() -> None:
    """And a success for one recipient at once writes nothing but the ledger's line."""
    hall = Hall()
    hall.commit()
    hall.commit()
    first, second = hall.take()
    hall.settle(first, DELIVERED)
    hall.disk.calls.clear()
    hall.queue.reserve(second)
    assert hall.disk.calls == []
    hall.settle(second, DELIVERED)
    assert [operation for operation, _ in hall.disk.calls] == ["write", "unlink"]


def test_on_a_full_disk_without_a_reserve_a_deferral_still_waits() -> None:
    """It is not written down, which is told once; the queue goes on."""
    hall = Hall()
    name = hall.put("new")
    job = hall.job()
    hall.fill()
    while hall.queue._reserve.spend():
        hall.fill()
    assert not hall.settle(job, DEFERRED)
    assert (hall.where(), hall.journal(name)) == ({"cur": [name]}, [])
    assert hall.queue.next_due() == LATER.timestamp()
    (said,) = hall.troubles()
    assert said.startswith("write down why messages wait: journal of ")


def test_on_a_full_disk_without_a_reserve_a_final_outcome_is_insisted_upon() -> None:
    """It is offered again until it is written."""
    hall = Hall()
    hall.commit("one", "two")
    job = hall.job()
    hall.fill()
    while hall.queue._reserve.spend():
        hall.fill()
    for _ in range(2):
        with pytest.raises(SpoolFull):
            hall.settle(job, DELIVERED, outcome(Kind.DEFERRED, 1))
    hall.disk.capacity = None
    assert not hall.settle(job, DELIVERED, outcome(Kind.DEFERRED, 1))
    assert hall.job(LATER.timestamp()).open == (1,)


# Settling that is tried again.


def test_a_notification_that_was_delivered_meanwhile_is_not_queued_again() -> None:
    """The end of its message failed at first."""
    hall = Hall()
    hall.put("new")
    job = hall.job()
    calm = hall.have_fail("unlink", errno.EIO, f"/new/{ID}")
    with pytest.raises(SpoolError):
        hall.settle(job, FAILED, notices=(notice(job, 1),))
    hall.disk.fault = calm
    assert hall.settle(hall.job(), DELIVERED)
    assert hall.settle(job, FAILED, notices=(notice(job, 1),))
    assert hall.take() == []
    hall.queue.tidy()
    assert hall.where() == {}


def test_outcomes_are_written_once_however_often_the_rest_fails() -> None:
    """What is done is remembered."""
    hall = Hall()
    name = hall.put("new")
    job = hall.job()
    calm = hall.have_fail("touch", errno.EIO)
    for _ in range(3):
        with pytest.raises(SpoolError):
            hall.settle(job, DEFERRED)
    hall.disk.fault = calm
    hall.settle(job, DEFERRED)
    assert hall.journal(name) == [DEFERRED, Scheduled(at=START, attempt=1, next=LATER)]


def test_what_could_not_be_recorded_is_written_by_the_settlement() -> None:
    """Also when the record is never tried again."""
    hall = Hall()
    name = hall.commit("one", "two")
    job = hall.job()
    calm = hall.have_fail("open_append", errno.EIO, "/journal/")
    with pytest.raises(SpoolError):
        hall.queue.record(job, [DELIVERED])
    hall.disk.fault = calm
    assert not hall.settle(job, outcome(Kind.DEFERRED, 1))
    assert hall.journal(name)[:2] == [DELIVERED, outcome(Kind.DEFERRED, 1)]
    assert hall.job(LATER.timestamp()).open == (1,)


def test_the_ledger_says_what_became_of_each() -> None:
    """Accepted, delivered, failed with somebody told, and undeliverable; each once."""
    hall = Hall()
    hall.commit("one", "two", "three")
    job = hall.job()
    hall.queue.record(job, [outcome(Kind.DELIVERED, 1)])
    hall.queue.record(job, [outcome(Kind.FAILED, 0)])
    hall.settle(job, outcome(Kind.DEFERRED, 2), notices=(notice(job, 1),))
    told = hall.job()
    hall.settle(told, DELIVERED)
    hall.settle(hall.job(LATER.timestamp()), outcome(Kind.EXPIRED, 2, attempt=2))
    ((_, content),) = hall.disk.take_all(LAYOUT.folder("ledger")).items()
    lines = [json.loads(line) for line in content.splitlines()]
    assert [(line["fate"], line["id"], line["recipients"]) for line in lines] == [
        (Fate.BEGAN, "this", []),
        (Fate.ACCEPTED, job.id, [0, 1, 2]),
        (Fate.DELIVERED, job.id, [1]),
        (Fate.ACCEPTED, told.id, [0]),
        (Fate.FAILED, job.id, [0]),
        (Fate.DELIVERED, told.id, [0]),
        (Fate.UNDELIVERABLE, job.id, [2]),
    ]


def test_a_failure_that_was_owed_is_in_the_ledger_too() -> None:
    """By the process that told of it."""
    hall = Hall()
    hall.commit("one", "two")
    job = hall.job()
    hall.queue.record(job, [FAILED])
    hall.start()
    job = hall.job()
    hall.settle(job, outcome(Kind.DELIVERED, 1, attempt=2), notices=(notice(job, 1),))
    ((_, content),) = hall.disk.take_all(LAYOUT.folder("ledger")).items()
    assert content.count(b'"failed"') == 1


def test_one_message_that_cannot_be_taken_away_does_not_keep_others_that_end_with_it() -> None:
    """All are in the ledger, in one append and once, when the disk lets the one go."""
    hall = Hall()
    names = [hall.commit(name) for name in ("one", "two", "three")]
    settlements = [Settlement(job, (outcome(Kind.DELIVERED, 0),), LATER) for job in hall.take()]
    hall.disk.calls.clear()
    calm = hall.have_fail("unlink", errno.EIO, names[1])
    results = hall.queue.settle_all(settlements)
    assert [isinstance(each, SpoolError) for each in results] == [False, True, False]
    assert hall.where() == {"new": [names[1]]}
    hall.disk.fault = calm
    assert hall.queue.settle_all([settlements[1]]) == [True]
    ledger = b"".join(hall.disk.take_all(LAYOUT.folder("ledger")).values())
    assert ledger.count(b'"fate":"delivered"') == 3
    writes = [path for call, path in hall.disk.calls if call == "write" and "/ledger/" in path]
    assert len(writes) == 1
