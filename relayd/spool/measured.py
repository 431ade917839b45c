"""A measured disk: the real one, and how long each wait for the medium took.

Refuses to know who reads that; what nobody reads is forgotten, oldest first. From any thread.
"""

import time
from collections import deque

from relayd.spool.together import Queue, TogetherDisk

# More than a process waits for between two readings.
_MOST = 20_000


class MeasuredDisk(TogetherDisk):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
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

    def wait_for(self, queue: Queue, count: int) -> list[OSError | None]:
        """As the disk's, measured: one wait, for however many files."""
        began = time.monotonic()
        found = super().wait_for(queue, count)
        self._waits.append(time.monotonic() - began)
        return found

    def waits(self) -> list[float]:
        """See Disk."""
        return [self._waits.popleft() for _ in range(len(self._waits))]
