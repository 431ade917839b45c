"""The measured disk: how long each wait for the medium took, once."""

import os
import threading
from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from relayd.spool.measured import MeasuredDisk


def test_each_sync_is_told_once(tmp_path: Path) -> None:
    """Of files and of folders."""
    disk = MeasuredDisk()
    fd = disk.create(str(tmp_path / "file"))
    disk.write(fd, b"octets")
    disk.sync(fd)
    disk.close(fd)
    disk.sync_folder(str(tmp_path))
    waits = disk.waits()
    assert len(waits) == 2
    assert all(0 <= each < 60 for each in waits)
    assert disk.waits() == []


def test_a_sync_that_fails_fails_and_is_not_told() -> None:
    """How long an error took says nothing of the medium."""
    disk = MeasuredDisk()
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        disk.sync(writing)
    os.close(reading)
    os.close(writing)
    assert disk.waits() == []


def test_what_nobody_reads_is_bounded() -> None:
    """A process whose loop hangs does not fill the memory."""
    disk = MeasuredDisk()
    for _ in range(20_100):
        disk._waits.append(0.0)
    assert len(disk.waits()) == 20_000


def test_threads_lose_nothing(tmp_path: Path) -> None:
    """Large messages have threads of their own."""
    disk = MeasuredDisk()
    folder = str(tmp_path)

    def work() -> None:
        for _ in range(50):
            disk.sync_folder(folder)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(disk.waits()) == 200


def test_a_plain_disk_measures_nothing() -> None:
    """Commands that look on have nobody to tell."""
    assert Disk().waits() == []
