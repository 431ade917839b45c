"""The lock: what makes a delivery process the only one of its spool.

Refuses to know what is done under it. Fails with `Held`, whose text names the process that has it where the
system tells, or with OSError where the file cannot be opened.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_LOCKS = Path("/proc/locks")


class Held(Exception):
    """Another process has the lock."""


@contextmanager
def held(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock; a process that was just killed has so many seconds to be gone."""
    lock = FileLock(path, timeout=patience, preserve_lock_file=True)
    try:
        lock.acquire()
    except Timeout:
        pid = holder(path)
        raise Held(f"{path} is held" + (f" by pid {pid}" if pid else "")) from None
    try:
        yield
    finally:
        lock.release()


def holder(path: Path, locks: Path = _LOCKS) -> int | None:
    """The process that has locked a file, by the kernel's own list; None where that does not say."""
    try:
        status = path.stat()
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    # For example "1: FLOCK  ADVISORY  WRITE 7552 fe:00:2146375 0 EOF"; a waiting one has "->" in second place.
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for words in map(str.split, lines):
        if len(words) == 8 and words[1] == "FLOCK" and words[5] == file and words[4].isdigit():
            return int(words[4]) or None
    return None
