"""The reserve: room on the disk that is ours before it is needed, so that an outcome is written when none is left.

Small files in reserve/, each with its octets allocated: taking one away makes room for a journal, and an inode
for it. While it is not whole, the queue lets no more mail out than there are files left, unless the loss of the
outcome would send nobody a second copy. It costs nothing while there is room. Never fails: it is whole or not.
"""

import contextlib
import stat

from relayd.spool.disk import Disk
from relayd.spool.layout import Layout

# 16 MiB in all: two blocks of 4 KiB for each of the two thousand messages in flight.
_FILES = 128
_OCTETS = 131_072
# What st_blocks counts in.
_BLOCK = 512


class Reserve:
    """The spool's."""

    def __init__(self, layout: Layout, disk: Disk, files: int = _FILES, octets: int = _OCTETS) -> None:
        self._layout = layout
        self._disk = disk
        self._octets = octets
        self._files = [layout.message("reserve", f"{number:03}") for number in range(files)]
        self._there: list[str] = []

    @property
    def is_whole(self) -> bool:
        """Whether none of it was spent; from any thread."""
        return len(self._there) == len(self._files)

    def __len__(self) -> int:
        """How many journals it has room for; from any thread."""
        return len(self._there)

    def fill(self) -> None:
        """Make what is missing, as far as there is room."""
        if self.is_whole:
            return
        there = set(self._there)
        for path in self._files:
            if path not in there:
                try:
                    self._make(path)
                except OSError:
                    # What there is of it would be taken for whole at the next start.
                    with contextlib.suppress(OSError):
                        self._disk.unlink(path)
                    return
                self._there.append(path)

    def spend(self) -> bool:
        """Give some of it back to the disk; False when nothing is left of it."""
        while self._there:
            try:
                self._disk.unlink(self._there.pop())
            except OSError:
                continue
            return True
        return False

    def _make(self, path: str) -> None:
        if self._disk.exists(path):
            status = self._disk.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_blocks * _BLOCK >= self._octets:
                # Of the process before. On a full disk it would not be had again.
                return
            self._disk.unlink(path)
        fd = self._disk.create(path)
        try:
            self._disk.allocate(fd, self._octets)
        finally:
            self._disk.close(fd)
