"""The ground: the folder that every queue of a run stands in, on a file system with a journal.

Where the system's folder for temporary files is on one, it is a folder there; else, as root, it is an ext4 image
in a file, mounted by loop, and both are gone afterwards. Without a journal, rates depend on earlier deletions.
Nothing here knows who writes there. Where no image can be made it says so in `mount` and goes on.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

# Sparse: it takes what is written.
_OCTETS = 8 << 30
_JOURNALED = frozenset({"btrfs", "ext3", "f2fs", "jfs", "reiserfs", "xfs", "zfs"})
# The sixteenth number of a block device's stat (Linux, Documentation/block/stat.rst).
_FLUSHES = 15
_UNMOUNT_SECONDS = 20.0
_STEP = 0.1
# Everything is made at once: what ext4 would do later by itself would be part of the figures.
_MAKE = ("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")


@dataclass(frozen=True, slots=True)
class Ground:
    """The folder, what is mounted there in one line, and the statistics of its device, where it has them."""

    folder: Path
    mount: str
    statistics: Path | None

    def flushes(self) -> int | None:
        """How often the device was told to empty its cache, so far."""
        if self.statistics is None:
            return None
        numbers = self.statistics.read_text().split()
        return int(numbers[_FLUSHES]) if len(numbers) > _FLUSHES else None


@contextmanager
def ground() -> Iterator[Ground]:
    """Prepare one, and take it away."""
    with tempfile.TemporaryDirectory(prefix="relayd-bench-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o755)
        if _is_journaled(folder):
            yield _described(folder, "")
            return
        with contextlib.ExitStack() as stack:
            note = "no journal: figures depend on earlier deletions"
            try:
                folder = stack.enter_context(_image(folder))
                note = "an image made for this run"
            except OSError as error:
                note = f"{note}; no image, since {error}"
            yield _described(folder, note)


@contextmanager
def _image(folder: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise PermissionError("mounting needs root")
    file, root = folder / "image", folder / "mounted"
    root.mkdir()
    with file.open("wb") as empty:
        empty.truncate(_OCTETS)
    _run(*_MAKE, str(file))
    _run("mount", "-t", "ext4", "-o", "loop,relatime", str(file), str(root))
    try:
        yield root
    finally:
        _unmount(root)


def _unmount(root: Path) -> None:
    """Whoever had files open there may need a moment to be gone."""
    deadline = time.monotonic() + _UNMOUNT_SECONDS
    while True:
        try:
            _run("umount", str(root))
            return
        except OSError:
            if time.monotonic() >= deadline:
                _run("umount", "--lazy", str(root))
                return
            time.sleep(_STEP)


def _described(folder: Path, note: str) -> Ground:
    found = _partition(folder)
    device = _device(folder)
    statistics = None
    if device is not None:
        # A partition counts no flushes; the whole device does.
        whole = device.parent if (device / "partition").exists() else device
        statistics = whole / "stat" if (whole / "stat").exists() else None
    text = f"{found.device} on {found.mountpoint}, {found.fstype} ({found.opts})"
    return Ground(folder, f"{text}; {note}" if note else text, statistics)


def _is_journaled(folder: Path) -> bool:
    kind = _partition(folder).fstype
    device = _device(folder)
    if kind == "ext4":
        return device is not None and any(Path("/proc/fs/jbd2").glob(f"{device.name}-*"))
    return kind in _JOURNALED


def _partition(folder: Path) -> Any:
    """The mount that a folder is in: the longest of those above it, the latest of equals."""
    path = folder.resolve()
    found = [each for each in psutil.disk_partitions(all=True) if path.is_relative_to(each.mountpoint)]
    return max(reversed(found), key=lambda each: len(each.mountpoint))


def _device(folder: Path) -> Path | None:
    number = folder.stat().st_dev
    path = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return path.resolve() if path.exists() else None


def _run(*command: str) -> None:
    """Raises OSError with what the command said."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip() or done.returncode}")
