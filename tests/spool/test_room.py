"""The room on the disk: no message is begun that would take the last of it, and one look serves many."""

from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from relayd.spool.errors import SpoolFull
from relayd.spool.intake import Intake
from relayd.spool.layout import Layout


class Shrinking(Disk):
    """A disk whose room is what the test says; it counts the looks."""

    def __init__(self) -> None:
        self.room = 1000
        self.looks = 0

    def free(self, path: str) -> tuple[int, int]:
        """See Disk."""
        self.looks += 1
        return self.room, -1


def test_a_look_counts_for_a_moment(tmp_path: Path) -> None:
    """But not for a message that is too large for what was there then."""
    disk, now = Shrinking(), [0.0]
    intake = Intake(Layout(str(tmp_path)), 100, disk=disk, clock=lambda: now[0])
    for _ in range(10):
        intake.check_room(900)
    assert disk.looks == 1
    with pytest.raises(SpoolFull):
        intake.check_room(901)
    disk.room = 99
    now[0] += 1
    with pytest.raises(SpoolFull):
        intake.check_room()


def test_that_there_is_no_room_is_not_remembered(tmp_path: Path) -> None:
    """So mail is taken again as soon as there is."""
    disk = Shrinking()
    intake = Intake(Layout(str(tmp_path)), 100, disk=disk, clock=lambda: 0.0)
    disk.room = 0
    for _ in range(2):
        with pytest.raises(SpoolFull):
            intake.check_room()
    disk.room = 1000
    intake.check_room()
    assert disk.looks == 3
