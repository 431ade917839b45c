"""The pid file: which process is the master, for people and programs, and the lock that keeps it single.

The lock is the truth; the number is for those who only read. A number that a crash left behind is believed only
when the process of that pid holds the lock, since pids are given again. Refuses to signal anything. Fails with
StartFailed.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from relayd.master.ownership import own_file
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

_LOCKS = Path("/proc/locks")
_LARGEST_PID = 1 << 22
_LONGEST = 32


class PidFile:
    """The master's own hand on it; `claim` first, after the fork that makes the master.

    The lock belongs to an open file: it lasts through an exec that keeps the descriptor, and a forked child holds
    it too, until it calls `close`.
    """

    def __init__(self, path: Path, lock: int | None = None) -> None:
        """`lock` is the descriptor that a master of the same pid had before it executed new code."""
        self._path = path
        self._lock = lock
        self.is_stale = False

    def fileno(self) -> int:
        """The lock's descriptor, while it is held."""
        assert self._lock is not None
        return self._lock

    def claim(self, owner: Identity) -> None:
        """Take the lock; StartFailed when another master has it. `is_stale` then says how the last one ended."""
        path = lock_path(self._path)
        is_new = self._lock is None
        try:
            if self._lock is None:
                os.makedirs(self._path.parent, mode=0o755, exist_ok=True)
                self._lock = own_file(path, owner, "pid file's lock", 0o600, os.O_RDWR)
            # For a lock that came through an exec this says that it is still held.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A file that was taken away since must not end a relay that runs.
            if is_new and not os.path.samestat(os.fstat(self._lock), os.stat(path)):
                raise StartFailed(f"{path} was taken away meanwhile; leave it where it is")
        except BlockingIOError:
            self.close()
            pid = read(self._path)
            raise StartFailed(f"already running (pid {pid or 'unknown'}; {self._path})") from None
        except OSError as error:
            self.close()
            raise StartFailed(f"{path}: {error.strerror or error}") from None
        except StartFailed:
            self.close()
            raise
        self.is_stale = os.path.lexists(self._path)

    def write(self, owner: Identity) -> None:
        """Say who is the master."""
        fd = own_file(self._path, owner, "pid file", 0o644)
        try:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise StartFailed(f"{self._path}: {error.strerror}") from None
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Take the file away, or empty it where the folder belongs to root; then give the lock back."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self._path, 0)
        self.close()

    def close(self) -> None:
        """Give the lock's descriptor up; in a forked child that takes nothing from the master."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def lock_path(path: Path) -> Path:
    """The lock beside a pid file; it stays when the relay has stopped, and means nothing then."""
    return path.with_name(path.name + ".lock")


def read(path: Path) -> int | None:
    """The pid in the file, if it can be one; whether that process is ours is another question."""
    try:
        # Without waiting, in case it is a FIFO.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0) as file:
            text = (file.read(_LONGEST) or b"").strip()
    except OSError:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 < int(text) <= _LARGEST_PID:
        return None
    return int(text)


def running(path: Path, locks: Path = _LOCKS) -> int | None:
    """The pid of the master, or None when none runs: the process that the file names, if it holds the lock.

    A number that a crash or a person left behind names no such process, whatever its program and its words are:
    it may be another relay's master. Where the kernel does not tell who holds a lock, nobody is believed.
    """
    pid = read(path)
    try:
        inode = lock_path(path).stat().st_ino
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    return pid if any(_is_hold(line.split(), pid, inode) for line in lines) else None


def _is_hold(words: list[str], pid: int | None, inode: int) -> bool:
    """Whether a line of proc_locks(5) says so: "1: FLOCK ADVISORY WRITE 4711 fe:00:2655896 0 EOF"."""
    if len(words) != 8 or words[1] != "FLOCK" or words[4] != str(pid):
        return False
    # The device is left out: some file systems (btrfs, overlays) show another one here than to stat.
    return words[5].rpartition(":")[2] == str(inode)
