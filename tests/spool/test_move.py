"""What an operator's command moves, and what that costs."""

import errno
import os

import pytest

from relayd.spool.ids import Ids
from relayd.spool.move import move
from tests.spool.crash import LAYOUT
from tests.spool.hall import ID, OTHER, Hall


def synced(hall: Hall) -> list[str]:
    """The folders that were synced, in order."""
    return [path.rpartition("/")[2] for operation, path in hall.disk.calls if operation == "sync_folder"]


def test_many_messages_are_moved_with_one_sync_of_each_folder() -> None:
    """Each from where it is by now; the target is durable first, so that none is ever in neither."""
    hall = Hall()
    names = [hall.put(state, Ids().next()) for state in ("cur", "new", "cur")]
    hall.disk.calls.clear()
    assert move(LAYOUT, hall.disk, names, ("new", "cur"), "hold") == 3
    assert hall.where() == {"hold": sorted(names)}
    assert synced(hall) == ["hold", "cur", "new"]


def test_what_is_gone_is_not_counted_and_costs_nothing() -> None:
    """It was delivered, or somebody has moved it elsewhere."""
    hall = Hall()
    name = hall.put("failed")
    hall.disk.calls.clear()
    assert move(LAYOUT, hall.disk, [name], ("new", "cur"), "hold") == 0
    assert (hall.where(), synced(hall)) == ({"failed": [name]}, [])


def test_what_was_moved_before_the_disk_failed_is_durable() -> None:
    """The command says what is wrong, and what is done is done."""
    hall = Hall()
    first, second = hall.put("cur", ID), hall.put("cur", OTHER)
    calm = hall.disk.fault

    def fault(operation: str, path: str) -> None:
        calm(operation, path)
        if operation == "rename" and OTHER in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    hall.disk.fault = fault
    hall.disk.calls.clear()
    with pytest.raises(OSError, match="Input/output error"):
        move(LAYOUT, hall.disk, [first, second], ("cur",), "new")
    assert hall.where() == {"new": [first], "cur": [second]}
    assert synced(hall) == ["new", "cur"]
