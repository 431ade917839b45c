"""A sink: where the log's lines go, a file or standard error, without ever waiting for it.

A pipe whose reader sleeps, or a terminal that somebody has stopped, must not stop mail. Refuses to know what a
line is. Fails with OSError when nothing can be written now; what was not written is the caller's to keep.
"""

import os
import select
import stat
from pathlib import Path

# What the kernel writes to a pipe in one piece, so that lines of several processes stand whole beside each
# other (PIPE_BUF); a file opened for appending takes any size in one piece.
_PIECE = 4096
_BLOCK = 65_536

_FILE = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
_SAME = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Sink:
    """An open one; `largest` is how many octets to write at once."""

    def __init__(self, path: Path | None, fd: int) -> None:
        """Open the file, or write to the descriptor when there is none; raise OSError."""
        self._path = path
        self._fd = fd
        self._may_wait = False
        self.largest = _BLOCK
        if path is not None:
            self._fd = os.open(path, _FILE, 0o640)
        elif not stat.S_ISREG(os.fstat(fd).st_mode):
            self.largest = _PIECE
            self._open_anew()

    def write(self, octets: bytes) -> int:
        """Write the beginning, and give how much that was; raise OSError, BlockingIOError while it is full."""
        if self._may_wait and not _is_ready(self._fd):
            raise BlockingIOError
        return os.write(self._fd, octets)

    def reopen(self) -> None:
        """Open the file anew, after logrotate has moved it away; raise OSError, and then the old one stays."""
        if self._path is not None:
            fd = os.open(self._path, _FILE, 0o640)
            self._fd, old = fd, self._fd
            os.close(old)

    def _open_anew(self) -> None:
        """Get a description of our own that never waits: O_NONBLOCK on the shared one would change it for others.

        A socket cannot be opened so, nor a pipe that belongs to another user; those are asked before each write.
        """
        try:
            self._fd = os.open(f"/proc/self/fd/{self._fd}", _SAME)
        except OSError:
            self._may_wait = True


def _is_ready(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
