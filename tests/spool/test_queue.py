"""The queue: whatever stands in its folders, what is sound is delivered, and a start never needs a person."""

import errno
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.base import events
from relayd.spool.disk import Disk
from relayd.spool.envelope import Recipient
from relayd.spool.errors import SpoolError, SpoolFull, WrongSpool
from relayd.spool.ids import Ids
from relayd.spool.layout import name_of
from relayd.spool.ledger import Fate
from relayd.spool.outcome import Kind, Scheduled
from relayd.spool.queue import Queue
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, LONGEST
from tests.spool.exchange import START, envelope, notice, outcome
from tests.spool.hall import DAY, ID, LATER, MAIL, NOW, OTHER, Hall, message

DELIVERED = outcome(Kind.DELIVERED, 0)
DEFERRED = outcome(Kind.DEFERRED, 0)
FAILED = outcome(Kind.FAILED, 0)

SIZE = len(message())
GOOD = name_of(OTHER, SIZE)
OURS = name_of(ID, SIZE)


# What is no message, on a real disk.


def socket_at(path: str) -> None:
    """A socket's name."""
    server = socket.socket(socket.AF_UNIX)
    # The path may be longer than a socket's address can be.
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(os.path.dirname(path))
        server.bind(os.path.basename(path))
    finally:
        os.fchdir(before)
        os.close(before)
        server.close()


def written(content: bytes) -> Callable[[str], None]:
    """A file with this content."""

    def make(path: str) -> None:
        Path(path).write_bytes(content)

    return make


def sparse(path: str) -> None:
    """Five gigabytes of nothing, under a name that says so."""
    with open(path, "wb") as file:
        file.truncate(5_000_000_000)


def device(path: str) -> None:
    """A device that must not be opened."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


STRANGE: list[tuple[str, Callable[[str], None], str]] = [
    (OURS, written(b""), "it has 0 octets, its name says "),
    (OURS, written(message()[:-1]), "octets, its name says "),
    (OURS, os.mkdir, "it is a directory"),
    (OURS, os.mkfifo, "it is a FIFO"),
    (OURS, lambda path: os.symlink("/etc/passwd", path), "it is a symbolic link"),
    (OURS, lambda path: os.symlink("/nowhere", path), "it is a symbolic link"),
    (OURS, socket_at, "it is a socket"),
    (name_of(ID, 0), written(b""), "it does not begin with the line 'relayd 1'"),
    (name_of(ID, 5_000_000_000), sparse, "it does not begin with the line 'relayd 1'"),
    (name_of(ID, 12), written(b"relayd 7\n{}\n"), "it is written in format 7, which this version does not read"),
    (name_of(ID, 9), written(b"relayd 1\n"), "it has no empty line after the envelope"),
    (name_of(ID, 15), written(b"relayd 1\n{}\n\nxy"), "its envelope cannot be read: "),
    ("README", written(b"hello"), "it has no name of ours"),
    (os.fsdecode(b"\xff\xfe"), written(b""), "it has no name of ours"),
    ("a\nname", written(b""), "it has no name of ours"),
    (OURS + "\n", written(message()), "it has no name of ours"),
    (os.fsdecode(b"\xe4" * 255), os.mkdir, "it has no name of ours"),
]


@pytest.mark.parametrize("has_started", [False, True], ids=["before a start", "while it runs"])
@pytest.mark.parametrize("state", ["new", "cur"])
@pytest.mark.parametrize(("name", "make", "reason"), STRANGE, ids=[each[2][:30] for each in STRANGE])
def test_what_is_no_message_of_ours_is_set_aside(
    real_spool: RealSpool, name: str, make: Callable[[str], None], reason: str, state: str, has_started: bool
) -> None:
    """With the reason in the log; the rest of the queue goes on, and nothing is waited for."""
    told: list[events.Event] = []
    queue = Queue(real_spool.layout, told.append, longest=LONGEST)
    if has_started:
        queue.recover()
    make(real_spool.layout.message(state, name))
    written(message())(real_spool.layout.message(state, GOOD))
    if not has_started:
        queue.recover()
    found = []
    for _ in range(3):
        queue.scan("new")
        queue.scan("cur")
        found += queue.take(10, 4e9)
    assert [job.id for job in found] == [OTHER]
    (event,) = [each for each in told if isinstance(each, events.QueueSetAside)]
    assert reason in event.reason
    (kept,) = os.listdir(real_spool.layout.folder("failed"))
    assert kept == name or len(os.fsencode(name)) == 255


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device, which only root can")
def test_a_device_is_not_opened(real_spool: RealSpool) -> None:
    """To open one can be an act by itself."""
    opened: list[str] = []

    class Watched(Disk):
        """Notes what is opened."""

        def open(self, path: str) -> int:
            opened.append(path)
            return super().open(path)

    device(real_spool.layout.message("new", OURS))
    told: list[events.Event] = []
    queue = Queue(real_spool.layout, told.append, longest=LONGEST, disk=Watched())
    queue.recover()
    assert queue.take(10, NOW) == []
    assert events.QueueSetAside(id=OURS, state="new", reason="it is a character device") in told
    assert not [path for path in opened if path.endswith(OURS)]


@pytest.mark.parametrize(
    ("mode", "user", "reason"),
    [
        (stat.S_IFREG, 1000, "it cannot be opened: Permission denied"),
        (stat.S_IFREG | 0o644, 0, "it belongs to user 0, not to user 1000"),
    ],
)
def test_a_file_that_is_not_ours_to_read_is_set_aside(mode: int, user: int, reason: str) -> None:
    """Mode 000, or another owner: its date could not be set either."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW)
    hall.put("cur", OTHER, mtime=NOW)
    node = hall.disk.folders[LAYOUT.folder("cur")].names[name]
    node.mode, node.user = mode, user
    assert hall.job().id == OTHER
    assert hall.set_aside() == {name: reason}


@pytest.mark.parametrize("content", [b"{}\n", b"not json\n", b'{"kind":"delivered"}\n'])
def test_a_message_with_an_unreadable_journal_is_set_aside(content: bytes) -> None:
    """Nobody knows who has it; its journal stays for a person to see."""
    hall = Hall()
    name = hall.put("new")
    hall.disk.put(LAYOUT.journal(ID), content)
    assert hall.take() == []
    assert hall.set_aside()[name].startswith("line 1 of its journal cannot be read: ")
    hall.start()
    assert hall.disk.take_all(LAYOUT.folder("journal")) == {ID: content}


def test_a_message_whose_journal_knows_more_recipients_is_set_aside() -> None:
    """Its envelope is not the one that was delivered."""
    hall = Hall()
    hall.commit("one", "two", "three")
    job = hall.job()
    hall.settle(job, outcome(Kind.DELIVERED, 2), outcome(Kind.DEFERRED, 0, 1))
    (name,) = hall.where()["cur"]
    hall.disk.unlink(LAYOUT.message("cur", name))
    hall.put("new", job.id, content=message("one"))
    assert hall.take() == []
    assert list(hall.set_aside().values()) == ["its journal knows recipient 2, its envelope 1"]


def test_a_torn_journal_counts_as_far_as_it_goes() -> None:
    """And goes on from there."""
    hall = Hall()
    name = hall.commit("one", "two")
    job = hall.job()
    hall.queue.record(job, [DELIVERED])
    node = hall.disk.folders[LAYOUT.folder("journal")].names[job.id]
    node.content += b'{"at":"2023-'
    hall.start()
    job = hall.job()
    assert job.open == (1,)
    hall.settle(job, outcome(Kind.DEFERRED, 1, attempt=2))
    assert hall.journal(name)[:2] == [DELIVERED, outcome(Kind.DEFERRED, 1, attempt=2)]


def test_an_envelope_with_very_many_recipients_is_read_whole() -> None:
    """It was accepted, so it is delivered."""
    hall = Hall()
    many = envelope(*(f"recipient-number-{number}" for number in range(30_000)))
    hall.put("new", content=message(of=many))
    job = hall.job()
    assert job.envelope.recipients[-1] == Recipient("recipient-number-29999@example.net")
    assert b"".join(hall.queue.read(job)) == MAIL


# A disk that fails.


def faulty(hall: Hall, operation: str, error: int, path: str = "") -> Callable[[str, str], None]:
    """Have an operation fail; give what was before."""
    calm = hall.disk.fault

    def fault(each: str, at: str) -> None:
        if each == operation and path in at:
            raise OSError(error, os.strerror(error), at)

    hall.disk.fault = fault
    return calm


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_descriptors_everything_waits(error: int) -> None:
    """It says nothing about any message, is told once, and does not turn in circles."""
    hall = Hall()
    for state in ("new", "cur"):
        for number in range(50):
            hall.put(state, Ids().next(), mtime=NOW - number)
    calm = faulty(hall, "open", error)
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
    calm = faulty(hall, operation, error, ID)
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
    calm = faulty(hall, "names", errno.EIO)
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
    calm = faulty(hall, "sync_folder", errno.EIO)
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
    calm = faulty(hall, "unlink", errno.EIO, "/new/")
    with pytest.raises(SpoolError, match=f"unlink {ID}: Input/output error"):
        hall.settle(job, DELIVERED)
    assert hall.journal(name) == [DELIVERED]
    hall.disk.fault = calm
    hall.start()
    assert hall.job().open == ()


# A full disk.


def fill(hall: Hall) -> None:
    """Leave no octet free, but what is reserved."""
    hall.disk.capacity = hall.disk._used()


def test_a_full_disk_does_not_make_us_send_twice() -> None:
    """What comes of several recipients is recorded from the reserve."""
    hall = Hall()
    name = hall.commit("one", "two")
    job = hall.job()
    fill(hall)
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
    fill(hall)
    while hall.queue._reserve.spend():
        fill(hall)
    for job in (several, more):
        with pytest.raises(SpoolFull):
            hall.queue.reserve(job)
    hall.queue.reserve(single)
    assert hall.settle(single, DELIVERED)
    hall.disk.capacity = None
    hall.queue.tidy()
    hall.queue.reserve(several)


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
    fill(hall)
    while hall.queue._reserve.spend():
        fill(hall)
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
    fill(hall)
    while hall.queue._reserve.spend():
        fill(hall)
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
    calm = faulty(hall, "unlink", errno.EIO, f"/new/{ID}")
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
    calm = faulty(hall, "touch", errno.EIO)
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
    calm = faulty(hall, "open_append", errno.EIO, "/journal/")
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
    calm = faulty(hall, operation, errno.EIO, stops)
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
    assert operations.count("lstat") <= 1000 + 2


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
    assert hall.queue._cached == 0


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
