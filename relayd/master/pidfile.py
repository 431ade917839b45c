"""The pid file: which process is the master, for people and programs, and the lock that keeps it single.

The lock is the truth; the number is for those who only read. A number that a crash left behind is believed only
when a process of that pid runs which began before the file was written: pids are given again. Refuses to signal
anything. Fails with StartFailed.
"""

import contextlib
import os
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

# Clock steps and the kernel's rounding of start times. No pid is given again so soon after its process has written
# the file.
_SLACK_SECONDS = 60.0
_LARGEST_PID = 1 << 22
_LONGEST = 32


class PidFile:
    """The master's own hand on it; `claim` first, after the fork that makes the master."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(lock_path(path), timeout=0, preserve_lock_file=True, mode=0o600)
        self.is_stale = False

    def claim(self) -> None:
        """Take the lock; StartFailed when another master has it. `is_stale` then says how the last one ended."""
        try:
            os.makedirs(self._path.parent, mode=0o755, exist_ok=True)
            if self._path.is_symlink():
                raise StartFailed(f"{self._path} is a symbolic link; a pid file must not be one")
            self._lock.acquire()
        except Timeout:
            pid = read(self._path)
            raise StartFailed(f"already running (pid {pid or 'unknown'}; {self._path})") from None
        except OSError as error:
            raise StartFailed(f"{lock_path(self._path)}: {error.strerror or error}") from None
        self.is_stale = self._path.exists()

    def write(self, owner: Identity) -> None:
        """Say who is the master."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(self._path, flags, 0o644)
            try:
                os.write(fd, f"{os.getpid()}\n".encode())
                if os.geteuid() == 0:
                    # Whoever it becomes takes the file away at the end.
                    os.fchown(fd, owner.uid, owner.gid)
                    os.chown(lock_path(self._path), owner.uid, owner.gid)
            finally:
                os.close(fd)
        except OSError as error:
            raise StartFailed(f"{self._path}: {error.strerror}") from None

    def remove(self) -> None:
        """Take the file away, or empty it where the folder belongs to root; then give the lock back."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self._path, 0)
        self._lock.release()


def lock_path(path: Path) -> Path:
    """The lock beside a pid file; it stays when the relay has stopped, and means nothing then."""
    return path.with_name(path.name + ".lock")


def read(path: Path) -> int | None:
    """The pid in the file, if it can be one; whether that process is ours is another question."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST).strip()
    except OSError:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 < int(text) <= _LARGEST_PID:
        return None
    return int(text)


def running(path: Path) -> psutil.Process | None:
    """The master that the file names, or None when it is gone, or the pid belongs to another program now."""
    pid = read(path)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        written = path.stat().st_mtime
        if process.create_time() > written + _SLACK_SECONDS or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if any("relayd" in word for word in process.cmdline()) else None
    except (psutil.Error, OSError):
        return None
