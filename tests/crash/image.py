"""An image: a small ext4 with a journal in a file, whose power can be cut.

The cut is ext4's own (EXT4_IOC_SHUTDOWN without a flush of the log): from that moment nothing reaches the medium,
and what was not synced before is gone at the next mount. Needs root and loop devices; `missing` says what is not
there.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

_OCTETS = 128 << 20
# _IOR('X', 125, __u32) and EXT4_GOING_FLAGS_NOLOGFLUSH.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
# e2fsck: nothing wrong, or put right by playing the journal.
_GOOD = (0, 1)
_TOOLS = ("mkfs.ext4", "e2fsck", "losetup", "mount", "umount")


class Image:
    """One, in a folder; `root` is where it is mounted."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "image"
        self.root = folder / "mounted"
        self.root.mkdir()

    def make(self) -> None:
        """An empty one, mounted."""
        self.unmount()
        self._file.unlink(missing_ok=True)
        with self._file.open("wb") as file:
            file.truncate(_OCTETS)
        _run("mkfs.ext4", "-q", "-F", "-O", "has_journal", str(self._file))
        self._mount()

    def cut(self) -> None:
        """Power off."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def repair(self) -> None:
        """Power on: play the journal, look at the whole file system, and mount it."""
        self.unmount()
        _run("e2fsck", "-f", "-p", str(self._file), good=_GOOD)
        self._mount()

    def unmount(self) -> None:
        """Whoever has files open in it must be gone."""
        if self.root.is_mount():
            _run("umount", str(self.root))

    def _mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", str(self._file), str(self.root))


def missing() -> str:
    """Why there can be no image here, or an empty string."""
    if os.geteuid() != 0:
        return "mounting needs root"
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        image = Image(Path(folder))
        try:
            image.make()
            image.cut()
            image.repair()
        except OSError as error:
            return f"no power can be cut here: {error}"
        finally:
            image.unmount()
    return ""


def _run(*command: str, good: tuple[int, ...] = (0,)) -> None:
    """Raises OSError with what the command said."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in good:
        raise OSError(f"{' '.join(command)}: {done.returncode} {done.stdout}{done.stderr}")
