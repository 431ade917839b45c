"""Setting aside: nothing in failed/ is ever replaced, and what cannot be moved is said once."""

import errno
import os

from relayd.base import events
from relayd.spool.aside import Aside
from relayd.spool.troubles import Troubles, shown
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, memory_disk
from tests.spool.memory_disk import MemoryDisk


def aside_on(disk: MemoryDisk) -> tuple[Aside, list[events.Event], set[str]]:
    """With what it tells, and the folders whose names it changed."""
    told: list[events.Event] = []
    moved: set[str] = set()
    return Aside(LAYOUT, disk, told.append, Troubles(told.append), moved.add), told, moved


def test_the_log_says_what_went_where_and_why() -> None:
    """And the folders are to be synced."""
    disk = memory_disk()
    disk.put(LAYOUT.message("new", "x"), b"content")
    aside, told, moved = aside_on(disk)
    aside.put("new", "x", "it is odd")
    assert told == [events.QueueMoved(id="x", was="new", now="failed", reason="it is odd")]
    assert disk.take_all(LAYOUT.folder("failed")) == {"x": b"content"}
    assert (moved, aside.count) == ({"new", "failed"}, 1)


def test_nothing_in_failed_is_replaced() -> None:
    """A second one of the same name gets a number."""
    disk = memory_disk()
    aside, told, _ = aside_on(disk)
    for number in range(3):
        disk.put(LAYOUT.message("new", "x"), b"%d" % number)
        aside.put("new", "x", "it is odd")
    assert disk.take_all(LAYOUT.folder("failed")) == {"x": b"0", "x.1": b"1", "x.2": b"2"}
    assert told[2] == events.QueueMoved(id="x", was="new", now="failed", reason="it is odd; it is failed/x.2 now")


def test_what_cannot_be_moved_is_said_once() -> None:
    """And again when the reason is another one, or after it could be moved."""
    disk = memory_disk()
    disk.put(LAYOUT.message("new", "x"), b"")
    aside, told, _ = aside_on(disk)

    def refuse(error: int) -> None:
        def fault(operation: str, path: str) -> None:
            if operation == "rename":
                raise OSError(error, os.strerror(error))

        disk.fault = fault

    for error in (errno.EROFS, errno.EROFS, errno.EIO, errno.EIO):
        refuse(error)
        aside.put("new", "x", "it is odd")
    assert [str(each.reason) for each in told if isinstance(each, events.SpoolTrouble)] == [
        "move x from new/ to failed/: Read-only file system; it is to be moved because it is odd",
        "move x from new/ to failed/: Input/output error; it is to be moved because it is odd",
    ]


def test_what_is_gone_already_is_not_spoken_of() -> None:
    """Somebody was faster."""
    aside, told, _ = aside_on(memory_disk())
    aside.put("new", "x", "it is odd")
    assert (told, aside.count) == ([], 0)


def test_any_name_can_be_moved_and_shown(real_spool: RealSpool) -> None:
    """Not UTF-8, with a newline, as long as a name can be; twice."""
    told: list[events.Event] = []
    disk, layout = real_spool.disk, real_spool.layout
    aside = Aside(layout, disk, told.append, Troubles(told.append), lambda folder: None)
    names = [os.fsdecode(b"\xff\xfe"), "a\nb", "-rf", os.fsdecode(b"\xe4" * 255)]
    for _ in range(2):
        for name in names:
            with open(layout.message("new", name), "xb"):
                pass
            aside.put("new", name, "it is odd")
    assert os.listdir(layout.folder("new")) == []
    assert len(os.listdir(layout.folder("failed"))) == 8
    for event in told:
        assert isinstance(event, events.QueueMoved)
        assert event.id.encode().isascii()
    assert shown(names[0]) == "\\xff\\xfe"


def test_a_folder_can_be_moved(real_spool: RealSpool) -> None:
    """With all that is in it."""
    told: list[events.Event] = []
    disk, layout = real_spool.disk, real_spool.layout
    os.mkdir(layout.message("new", "folder"))
    os.mkdir(layout.message("new", "folder/inside"))
    Aside(layout, disk, told.append, Troubles(told.append), lambda folder: None).put("new", "folder", "it is odd")
    assert os.listdir(layout.message("failed", "folder")) == ["inside"]
