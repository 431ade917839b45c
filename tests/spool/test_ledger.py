"""The ledger: whole lines by day, whoever writes beside us and whatever goes wrong."""

import errno
import json
import os
import stat
from datetime import UTC, datetime

import pytest

from relayd.spool.ledger import Fate, Ledger, Line, accepted
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, memory_disk
from tests.spool.exchange import envelope
from tests.spool.memory_disk import MemoryDisk

DAY = datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
NEXT = datetime(2026, 3, 1, tzinfo=UTC)


def line(message_id: str, at: datetime = DAY) -> Line:
    """A line."""
    return Line(at, Fate.DELIVERED, message_id, (0,))


def test_a_group_is_one_write() -> None:
    """So that lines of several processes stand whole beside each other, however long the group is."""
    disk = memory_disk()
    ledger = Ledger(LAYOUT, disk)
    ledger.append([line(str(number)) for number in range(1000)])
    assert [call for call in disk.calls if call[0] == "write"][1:] == [
        ("write", LAYOUT.message("ledger", "2026-02-28"))
    ]
    content = disk.take_all(LAYOUT.folder("ledger"))["2026-02-28"]
    assert [json.loads(each)["id"] for each in content.splitlines()] == [str(number) for number in range(1000)]


def test_each_day_has_a_file_for_its_owner_only(real_spool: RealSpool) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        ledger = Ledger(real_spool.layout, real_spool.disk)
        ledger.append([line("a")])
        ledger.append([line("b"), line("c", NEXT)])
        ledger.append([])
    finally:
        os.umask(before)
    folder = real_spool.layout.folder("ledger")
    assert sorted(os.listdir(folder)) == ["2026-02-28", "2026-03-01"]
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(folder)} == {0o600}


def test_two_processes_write_into_one_file(real_spool: RealSpool) -> None:
    """Each at its end."""
    hands = [Ledger(real_spool.layout, real_spool.disk) for _ in range(2)]
    for number in range(10):
        hands[number % 2].append([line(str(number))])
    with open(real_spool.layout.message("ledger", "2026-02-28")) as file:
        assert [json.loads(each)["id"] for each in file] == [str(number) for number in range(10)]


def test_a_line_that_was_torn_spoils_no_other() -> None:
    """The next one ends it."""
    disk = memory_disk()
    ledger = Ledger(LAYOUT, disk)
    ledger.append([line("a")])
    disk.capacity = disk.used + 10
    with pytest.raises(OSError, match="No space left"):
        ledger.append([line("b")])
    disk.capacity = None
    ledger.append([line("c")])
    lines = disk.take_all(LAYOUT.folder("ledger"))["2026-02-28"].splitlines()
    assert len(lines) == 3
    assert [json.loads(each)["id"] for each in (lines[0], lines[2])] == ["a", "c"]


def test_what_was_appended_is_synced_once() -> None:
    """Only when there is something."""
    disk = memory_disk()
    ledger = Ledger(LAYOUT, disk)
    ledger.sync()
    ledger.append([line("a")])
    ledger.sync()
    ledger.sync()
    assert disk.calls.count(("sync", LAYOUT.message("ledger", "2026-02-28"))) == 1


def test_a_failed_sync_is_not_tried_again_on_the_same_descriptor() -> None:
    """It would say that all is well."""
    disk = memory_disk()
    ledger = Ledger(LAYOUT, disk)
    ledger.append([line("a")])

    def fault(operation: str, path: str) -> None:
        if operation == "sync":
            raise OSError(errno.EIO, "Input/output error")

    disk.fault, calm = fault, disk.fault
    with pytest.raises(OSError, match="Input/output"):
        ledger.sync()
    disk.fault = calm
    ledger.sync()
    ledger.append([line("b")])
    assert disk.calls.count(("open_append", LAYOUT.message("ledger", "2026-02-28"))) == 2


class ClosesBadly(MemoryDisk):
    """Tells of an error as it gives a descriptor back, as some file systems do."""

    is_bad = False

    def close(self, fd: int) -> None:
        super().close(fd)
        if self.is_bad:
            raise OSError(errno.EIO, "Input/output error")


def test_a_day_that_cannot_be_closed_does_not_hold_up_the_next_one() -> None:
    """Its descriptor is gone either way; what it had was synced before."""
    disk = ClosesBadly()
    LAYOUT.create(disk=disk)
    ledger = Ledger(LAYOUT, disk)
    ledger.append([line("a")])
    disk.is_bad = True
    ledger.append([line("b", NEXT)])
    ledger.sync()
    assert json.loads(disk.take_all(LAYOUT.folder("ledger"))["2026-03-01"])["id"] == "b"
    for day in ("2026-02-28", "2026-03-01"):
        assert ("sync", LAYOUT.message("ledger", day)) in disk.calls


def test_an_accepted_message_has_all_its_recipients() -> None:
    """By their index."""
    assert accepted(DAY, "id", envelope("a", "b")) == Line(DAY, Fate.ACCEPTED, "id", (0, 1))
