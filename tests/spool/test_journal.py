"""The journal: what was appended is durable, what a crash tore is cut off, what somebody edited is noticed."""

import errno
import os
import stat
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.reply import Reply
from relayd.spool.errors import NotSound
from relayd.spool.journal import LARGEST, Journal, parse
from relayd.spool.outcome import Entry, Kind, Notified, Outcome, Scheduled
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, memory_disk
from tests.spool.exchange import START, outcome
from tests.spool.memory_disk import MemoryDisk

ID = "01234567890123456"
PATH = LAYOUT.journal(ID)
FIRST = outcome(Kind.DELIVERED, 0)
SECOND = outcome(Kind.DEFERRED, 1)
ENTRIES: list[Entry] = [
    FIRST,
    Notified(at=START, attempt=1, message="x"),
    Scheduled(at=START, attempt=1, next=START),
    outcome(Kind.IN_DOUBT, 1, 2, attempt=2),
]


def open_journal(disk: MemoryDisk) -> tuple[Journal, list[Entry]]:
    """As somebody who claims the message does."""
    journal = Journal(disk, LAYOUT, ID)
    return journal, journal.read()


def content_of(disk: MemoryDisk) -> bytes:
    """The file."""
    return disk.take_all(LAYOUT.folder("journal"))[ID]


def with_content(content: bytes) -> MemoryDisk:
    """A spool with this journal."""
    disk = memory_disk()
    disk.put(PATH, content)
    return disk


def whole() -> bytes:
    """A journal with all kinds of lines."""
    disk = memory_disk()
    open_journal(disk)[0].append(ENTRIES)
    return content_of(disk)


def test_what_was_appended_is_read() -> None:
    """By the same one, and by the next."""
    disk = memory_disk()
    journal, entries = open_journal(disk)
    assert (entries, journal.exists) == ([], False)
    journal.append(ENTRIES[:2])
    journal.append(ENTRIES[2:])
    assert journal.exists
    assert open_journal(disk)[1] == ENTRIES


def test_a_line_is_durable_when_it_is_appended() -> None:
    """The file is synced each time, its name once."""
    disk = memory_disk()
    journal, _ = open_journal(disk)
    for _ in range(2):
        journal.append([FIRST])
        assert all(
            content.endswith(b"\n") for image, _ in disk.images() for path, content, _ in image if path == PATH
        )
    assert disk.calls.count(("sync_folder", LAYOUT.folder("journal"))) == 1
    assert disk.calls.count(("sync", PATH)) == 2


@given(st.integers(min_value=0), st.booleans())
def test_a_torn_last_line_is_not_read(cut: int, has_zeros: bool) -> None:
    """Wherever a crash has cut it, or left octets of nothing; and the next line stands on its own."""
    content = whole()
    cut %= len(content)
    torn = content[:cut] + (bytes(len(content) - cut) if has_zeros else b"")
    disk = with_content(torn)
    journal, entries = open_journal(disk)
    assert entries == ENTRIES[: content[:cut].count(b"\n")]
    journal.append([FIRST])
    assert open_journal(disk)[1] == [*entries, FIRST]


def test_a_hole_in_what_was_not_synced_is_not_read() -> None:
    """After a power cut an earlier page may be missing and a later one there."""
    content = whole()
    end = content.index(b"\n") + 1
    holed = content[: end + 5] + bytes(100) + content[end + 105 :]
    assert parse(holed) == ([FIRST], end)


def test_what_a_failed_sync_has_lost_is_written_again() -> None:
    """The next sync alone would say that all is well."""
    disk = memory_disk()
    journal, _ = open_journal(disk)
    journal.append([FIRST])

    def fault(operation: str, path: str) -> None:
        if operation == "sync":
            raise OSError(errno.EIO, "Input/output error")

    disk.fault, calm = fault, disk.fault
    with pytest.raises(OSError, match="Input/output"):
        journal.append([SECOND])
    disk.fault = calm
    journal.append([SECOND])
    (node,) = disk.folders[LAYOUT.folder("journal")].names.values()
    assert node.durable == content_of(disk)
    assert open_journal(disk)[1] == [FIRST, SECOND]


def test_a_full_disk_is_asked_again_while_there_is_a_reserve() -> None:
    """Each time somebody makes room; what stood there of the line is taken away."""
    disk = memory_disk()
    journal, _ = open_journal(disk)
    journal.append([FIRST])
    disk.capacity = sum(len(each) for each in disk.take_all(LAYOUT.folder("journal")).values()) + 20
    asked = 0

    def make_room() -> bool:
        nonlocal asked
        asked += 1
        disk.capacity = (disk.capacity or 0) + 60
        return True

    journal.append([SECOND], make_room)
    assert asked > 1
    assert open_journal(disk)[1] == [FIRST, SECOND]


def test_a_full_disk_without_a_reserve_is_an_error_that_leaves_no_trace() -> None:
    """What was there is there, and the next append is right."""
    disk = memory_disk()
    journal, _ = open_journal(disk)
    journal.append([FIRST])
    disk.capacity = sum(len(each) for each in disk.take_all(LAYOUT.folder("journal")).values()) + 20
    with pytest.raises(OSError, match="No space left"):
        journal.append([SECOND], lambda: False)
    disk.capacity = None
    journal.append([SECOND])
    assert open_journal(disk)[1] == [FIRST, SECOND]


def test_a_journal_that_somebody_took_away_is_made_again() -> None:
    """With a durable name."""
    disk = memory_disk()
    journal, _ = open_journal(disk)
    journal.append([FIRST])
    disk.unlink(PATH)
    journal.append([SECOND])
    assert open_journal(disk)[1] == [SECOND]
    assert disk.calls.count(("sync_folder", LAYOUT.folder("journal"))) == 2


def test_what_its_writer_was_killed_over_is_synced_before_it_counts() -> None:
    """Nobody acts on a line that a power cut could take back."""
    disk = memory_disk()
    fd = disk.open_append(PATH)
    disk.write(fd, whole())
    assert Journal(disk, LAYOUT, ID).read(lambda mtime: mtime == disk.clock.seconds) == ENTRIES
    (node,) = disk.folders[LAYOUT.folder("journal")].names.values()
    assert node.durable == whole()


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        (b'"kind":"delivered"', b'"kind":"eaten"'),
        (b'"recipients":[0]', b'"recipients":[-1]'),
        (b'"recipients":[0]', b'"recipients":0'),
        (b'"attempt":1', b'"attempt":0'),
        (b'"2023-11-14T22:13:20Z"', b'"2023-11-14T22:13:20"'),
        (b'"lines":["Ok"]', b'"lines":["Ok\\r\\nBcc: x"]'),
        (b'"lines":["Ok"]', b'"lines":[]'),
        (b'"code":250', b'"code":99'),
        (b'"enhanced":"2.0.0"', b'"enhanced":"2.0.0\\nX: y"'),
        (b"{", b""),
        (b'"Ok"', b'"\xff"'),
    ],
)
def test_an_edited_line_that_would_do_harm_is_not_sound(written: bytes, instead: bytes) -> None:
    """And the error says which."""
    content = whole()
    assert written in content
    with pytest.raises(NotSound, match="line 1 of its journal cannot be read"):
        parse(content.replace(written, instead, 1))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.integers(200, 599))
def test_any_reply_can_be_read_again(lines: list[str], code: int) -> None:
    """Whatever a peer has said; unprintable characters as escapes."""
    disk = memory_disk()
    written = Outcome(
        at=START, recipients=(0,), kind=Kind.FAILED, reply=Reply(code, None, tuple(lines)), attempt=1
    )
    open_journal(disk)[0].append([written])
    (entry,) = open_journal(disk)[1]
    assert isinstance(entry, Outcome)
    assert entry.reply.code == code


def test_a_long_reply_is_kept_in_part() -> None:
    """A peer that talks must not fill the disk, try after try."""
    disk = memory_disk()
    reply = Reply(451, "4.0.0", tuple(["x" * 900] * 1000))
    written = Outcome(at=START, recipients=(0,), kind=Kind.DEFERRED, reply=reply, attempt=1)
    open_journal(disk)[0].append([written])
    assert len(content_of(disk)) < 3000
    (entry,) = open_journal(disk)[1]
    assert isinstance(entry, Outcome)
    assert entry.reply.lines[0] == "x" * 900


def sparse(path: str) -> None:
    """A file that is larger than any journal, and takes no room."""
    with open(path, "wb") as file:
        file.truncate(LARGEST + 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkdir, "its journal: it is a directory"),
        (lambda path: os.symlink("/etc/passwd", path), "its journal: it is a symbolic link"),
        (os.mkfifo, "its journal: it is a FIFO"),
        (sparse, "its journal has 134217729 octets"),
    ],
)
def test_what_is_no_journal_is_not_sound(real_spool: RealSpool, make: Callable[[str], None], said: str) -> None:
    """It is not followed, waited for, or read whole."""
    make(real_spool.layout.journal(ID))
    with pytest.raises(NotSound, match=said):
        Journal(real_spool.disk, real_spool.layout, ID).read()


def test_a_journal_that_may_not_be_read_is_not_sound() -> None:
    """Mode 000, or another owner's."""
    disk = with_content(whole())
    (node,) = disk.folders[LAYOUT.folder("journal")].names.values()
    node.mode = stat.S_IFREG
    with pytest.raises(NotSound, match="its journal: it cannot be opened: Permission denied"):
        open_journal(disk)
    node.mode, node.user = stat.S_IFREG | 0o600, 0
    with pytest.raises(NotSound, match="its journal: it belongs to user 0, not to user 1000"):
        open_journal(disk)
