"""What stands in the queue's folders and is no message: it is set aside, and the rest goes on."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.base import events
from relayd.spool.disk import Disk
from relayd.spool.envelope import Recipient
from relayd.spool.layout import name_of
from relayd.spool.outcome import Kind
from relayd.spool.queue import Queue
from relayd.spool.troubles import shown
from relayd.spool.view import View
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, LONGEST
from tests.spool.exchange import START, envelope, outcome
from tests.spool.hall import ID, MAIL, NOW, OTHER, Hall, message

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


def named(number: int, size: int) -> str:
    """A name of ours."""
    return name_of(f"{number:017}", size)


STRANGE: list[tuple[str, Callable[[str], None], str]] = [
    (named(1, SIZE), written(b""), f"it has 0 octets, its name says {SIZE}"),
    (named(2, SIZE), written(message()[:-1]), f"it has {SIZE - 1} octets, its name says {SIZE}"),
    (named(3, SIZE), os.mkdir, "it is a directory"),
    (named(4, SIZE), os.mkfifo, "it is a FIFO"),
    (named(5, SIZE), lambda path: os.symlink("/etc/passwd", path), "it is a symbolic link"),
    (named(6, SIZE), lambda path: os.symlink("/nowhere", path), "it is a symbolic link"),
    (named(7, SIZE), socket_at, "it is a socket"),
    (named(8, 0), written(b""), "it does not begin with the line 'relayd 1'"),
    (named(9, 5_000_000_000), sparse, "it does not begin with the line 'relayd 1'"),
    (named(10, 12), written(b"relayd 7\n{}\n"), "it is written in format 7, which this version does not read"),
    (named(11, 9), written(b"relayd 1\n"), "it has no empty line after the envelope"),
    (named(12, 15), written(b"relayd 1\n{}\n\nxy"), "its envelope cannot be read: "),
    ("README", written(b"hello"), "it has no name of ours"),
    (os.fsdecode(b"\xff\xfe"), written(b""), "it has no name of ours"),
    ("a\nname", written(b""), "it has no name of ours"),
    (named(13, SIZE) + "\n", written(message()), "it has no name of ours"),
    (os.fsdecode(b"\xe4" * 120), os.mkdir, "it has no name of ours"),
]


@pytest.mark.parametrize("has_started", [False, True], ids=["before a start", "while it runs"])
@pytest.mark.parametrize("state", ["new", "cur"])
def test_what_is_no_message_of_ours_is_set_aside(real_spool: RealSpool, state: str, has_started: bool) -> None:
    """With the reason in the log; the rest of the queue goes on, and nothing is waited for."""
    told: list[events.Event] = []
    queue = Queue(real_spool.layout, told.append, longest=LONGEST, disk=real_spool.disk)
    if has_started:
        queue.recover()
    for name, make, _ in STRANGE:
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
    reasons = {each.id: each.reason for each in told if isinstance(each, events.QueueMoved)}
    assert len(reasons) == len(STRANGE)
    for name, _, reason in STRANGE:
        assert (reasons.get(shown(name)) or reasons[name[:17]]).startswith(reason)
    assert sorted(os.listdir(real_spool.layout.folder("failed"))) == sorted(name for name, _, _ in STRANGE)


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
    assert events.QueueMoved(id=OURS[:17], was="new", now="failed", reason="it is a character device") in told
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
    assert hall.set_aside() == {name[:17]: reason}


DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("content", [b"{}\n", b"not json\n", b'{"kind":"delivered"}\n', DEEP + b"\n"])
def test_a_message_with_an_unreadable_journal_is_set_aside(content: bytes) -> None:
    """Nobody knows who has it; its journal stays for a person to see."""
    hall = Hall()
    name = hall.put("new")
    hall.disk.put(LAYOUT.journal(ID), content)
    assert hall.take() == []
    assert hall.set_aside()[name[:17]].startswith("line 1 of its journal cannot be read: ")
    hall.start()
    assert hall.disk.take_all(LAYOUT.folder("journal")) == {ID: content}


def test_an_envelope_that_is_nested_beyond_measure_is_set_aside() -> None:
    """A listing shows the reason too."""
    hall = Hall()
    name = hall.put("new", content=b"relayd 1\n" + DEEP + b"\n\n")
    (item,) = View(Path(LAYOUT.root), disk=hall.disk).items(START)
    assert item.reason.startswith("its envelope cannot be read: ")
    assert hall.take() == []
    assert hall.set_aside() == {name[:17]: item.reason}


def test_a_bug_met_with_one_message_leaves_the_others_in_good_hands() -> None:
    """Those that were claimed before it are handed out, and it is kept for a person."""
    hall = Hall()
    hall.put("new", ID)
    name = hall.put("new", OTHER)
    calm = hall.disk.fault

    def fault(operation: str, path: str) -> None:
        calm(operation, path)
        if operation == "open" and OTHER in path:
            raise ZeroDivisionError("a bug")

    hall.disk.fault = fault
    assert hall.job().id == ID
    assert hall.set_aside() == {name[:17]: "reading it raised ZeroDivisionError: a bug"}


def test_a_process_without_memory_sets_nothing_aside() -> None:
    """The message is as good as ever, and is asked for again."""
    hall = Hall()
    hall.put("new")
    calm = hall.disk.fault

    def fault(operation: str, path: str) -> None:
        if operation == "open" and ID in path:
            raise MemoryError

    hall.disk.fault = fault
    assert hall.take() == []
    hall.disk.fault = calm
    assert (hall.set_aside(), hall.job(NOW + 2).id) == ({}, ID)


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
