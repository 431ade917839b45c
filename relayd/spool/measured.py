"""A measured disk: the real one, and how long each wait for the medium took.

Refuses to know who reads that; what nobody reads is forgotten, oldest first. From any thread.
"""

import time
from collections import deque

from relayd.spool.disk import Disk

# More than a process waits for between two readings.
_MOST = 20_000


class MeasuredDisk(Disk):
    """See the module."""

    def __init__(self) -> None:
        # Its ends are safe to use from several threads without a lock.
        self._waits: deque[float] = deque(maxlen=_MOST)

    def sync(self, fd: int) -> None:
        """As the disk's, measured."""
        began = time.monotonic()
        super().sync(fd)
        self._waits.append(time.monotonic() - began)

    def sync_folder(self, path: str) -> None:
        """As the disk's, measured."""
        began = time.monotonic()
        super().sync_folder(path)
        self._waits.append(time.monotonic() - began)

    def waits(self) -> list[float]:
        """See Disk."""
        return [self._waits.popleft() for _ in range(len(self._waits))]
