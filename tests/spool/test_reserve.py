"""The reserve: room that is ours, given back piece by piece, and had again when there is room."""

import os

from relayd.spool.layout import Layout
from relayd.spool.reserve import Reserve
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT, memory_disk


def test_the_reserve_takes_its_room_from_the_disk(real_spool: RealSpool) -> None:
    """Blocks, not holes; and at the next start it is there already."""
    reserve = Reserve(real_spool.layout, real_spool.disk, files=3, octets=65_536)
    assert not reserve.is_whole
    reserve.fill()
    assert (reserve.is_whole, len(reserve)) == (True, 3)
    entries = list(os.scandir(real_spool.layout.folder("reserve")))
    assert all(entry.stat().st_blocks * 512 >= 65_536 for entry in entries)
    numbers = {entry.inode() for entry in entries}
    again = Reserve(real_spool.layout, real_spool.disk, files=3, octets=65_536)
    again.fill()
    assert again.is_whole
    assert {entry.inode() for entry in os.scandir(real_spool.layout.folder("reserve"))} == numbers


def test_what_stands_in_its_place_is_replaced(real_spool: RealSpool) -> None:
    """A hole, a link, or a file that is too short."""
    folder = real_spool.layout.folder("reserve")
    with open(f"{folder}/000", "wb") as hole:
        hole.truncate(65_536)
    os.symlink("/etc/passwd", f"{folder}/001")
    reserve = Reserve(real_spool.layout, real_spool.disk, files=3, octets=65_536)
    reserve.fill()
    assert reserve.is_whole
    assert all(entry.stat(follow_symlinks=False).st_blocks * 512 >= 65_536 for entry in os.scandir(folder))


def test_each_piece_makes_room_until_none_is_left() -> None:
    """In octets and in names."""
    disk = memory_disk()
    reserve = Reserve(LAYOUT, disk, files=3, octets=1000)
    reserve.fill()
    disk.capacity = disk.used
    for left in (2, 1, 0):
        assert reserve.spend()
        assert (len(reserve), reserve.is_whole) == (left, False)
        assert disk.free(LAYOUT.root)[0] == (3 - left) * 1000
    assert not reserve.spend()


def test_it_is_filled_again_as_far_as_there_is_room() -> None:
    """Never with a piece that has not its octets."""
    disk = memory_disk()
    reserve = Reserve(LAYOUT, disk, files=3, octets=1000)
    disk.capacity = disk.used + 2500
    reserve.fill()
    assert (len(reserve), reserve.is_whole) == (2, False)
    assert len(disk.take_all(LAYOUT.folder("reserve"))) == 2
    disk.capacity += 1000
    reserve.fill()
    assert reserve.is_whole


def test_a_reserve_that_somebody_took_away_gives_nothing() -> None:
    """And does not fail."""
    disk = memory_disk()
    reserve = Reserve(LAYOUT, disk, files=2, octets=1000)
    reserve.fill()
    for name in disk.take_all(LAYOUT.folder("reserve")):
        disk.unlink(LAYOUT.message("reserve", name))
    assert not reserve.spend()


def test_a_whole_reserve_costs_nothing() -> None:
    """No call to the disk."""
    disk = memory_disk()
    reserve = Reserve(Layout(LAYOUT.root), disk, files=2, octets=1000)
    reserve.fill()
    disk.calls.clear()
    reserve.fill()
    assert disk.calls == []
