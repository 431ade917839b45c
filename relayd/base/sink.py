"""A sink: where the log's lines go, a file or standard error, without waiting for whoever reads them.

A pipe whose reader sleeps, or a terminal that somebody has stopped, must not stop mail. A file on a disk that
hangs does, since the kernel has no write to a file that would not wait for it.

A file that several processes append to may become full in the middle of a line: whoever began it ends it when
there is room, or says it again on a line of its own where another process has written meanwhile. Refuses to know
what a line says. Fails with OSError when nothing can be written now; what was not written is the caller's to keep.
"""

import os
import select
import stat
from errno import EACCES, EINVAL, ENOSYS, EOPNOTSUPP, EPERM
from pathlib import Path

# What the kernel writes to a pipe in one piece, so that lines of several processes stand whole beside each
# other (PIPE_BUF); a file opened for appending takes any size in one piece.
_PIECE = 4096
_BLOCK = 65_536

# For pwritev: where the description stands.
_HERE = -1

# Without waiting, in case a FIFO has the name.
_FILE = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
_SAME = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Sink:
    """An open one; `largest` is how many octets to write at once."""

    def __init__(self, path: Path | None, fd: int) -> None:
        """Open the file, or write to the descriptor when there is none; raise OSError."""
        self._path = path
        self._fd = fd if path is None else _opened(path)
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._may_wait = False
        self.largest = _BLOCK if self._is_file else _PIECE
        self.forget()
        self._is_doubtful = False
        if path is None and not self._is_file:
            self._open_anew()

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self._fd

    def forget(self) -> None:
        """What was begun is somebody else's to end, in the process that this one was forked from."""
        # How many octets are out of the line that comes next, and how long the file was then.
        self._out = 0
        self._size = -1

    def write(self, lines: bytes) -> bytes:
        """Write what goes; give the lines that are not out yet, beginning with one of which a part may be.

        They are to come next. Raises OSError, BlockingIOError while it is full.
        """
        if self._is_doubtful:
            begun, end = self._last_line()
        else:
            begun, end = self._out, b""
        try:
            written = self._put(end + lines[begun:])
        except OSError:
            self._is_doubtful = self._is_file
            raise
        done = max(begun, begun + written - len(end))
        if done == len(lines):
            self.forget()
            self._is_doubtful = False
            return b""
        first = lines.rfind(b"\n", 0, done) + 1
        self._out = done - first
        if self._is_file:
            self._is_doubtful = True
            self._size = os.fstat(self._fd).st_size
        return lines[first:]

    def reopen(self) -> None:
        """Open the file anew, after logrotate has moved it away; raise OSError, and then the old one stays."""
        if self._path is not None:
            fd = _opened(self._path)
            self._fd, old = fd, self._fd
            os.close(old)
            # The old file has the beginning of a line at most; the new one gets all of it.
            self.forget()
            self._is_doubtful = False

    def _put(self, octets: bytes) -> int:
        if not self._may_wait:
            return os.write(self._fd, octets)
        try:
            return os.pwritev(self._fd, (octets,), _HERE, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in (EOPNOTSUPP, EINVAL, ENOSYS):
                raise
        # An old kernel: where two processes ask at once and there is room for one, the other waits for the reader.
        if not _is_ready(self._fd):
            raise BlockingIOError
        return os.write(self._fd, octets)

    def _last_line(self) -> tuple[int, bytes]:
        """After a failure: how much of the next line stands at the file's end, and what ends another one there."""
        try:
            size = os.fstat(self._fd).st_size
            if self._out and size == self._size:
                return self._out, b""
            self.forget()
            return 0, b"" if size == 0 or os.pread(self._fd, 1, size - 1) == b"\n" else b"\n"
        except OSError:
            # It cannot be read: an empty line does less harm than one that runs into the next.
            return 0, b"\n"

    def _open_anew(self) -> None:
        """Get a description of our own that never waits: O_NONBLOCK on the shared one would change it for others.

        A socket cannot be opened so, nor a pipe that belongs to another user, as supervisord's does: there each
        write says for itself that it does not wait.
        """
        try:
            self._fd = os.open(f"/proc/self/fd/{self._fd}", _SAME)
        except OSError:
            self._may_wait = True


def _opened(path: Path) -> int:
    """A regular file of ours, made where there is none, or a device, /dev/null for one; raises OSError."""
    try:
        fd = os.open(path, os.O_RDWR | _FILE, 0o640)
    except OSError as error:
        if error.errno != EACCES:
            raise
        fd = os.open(path, os.O_WRONLY | _FILE, 0o640)
    status = os.fstat(fd)
    user = os.geteuid()
    wrong = None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        wrong = OSError(EINVAL, "not a regular file", str(path))
    elif user not in (0, status.st_uid) and status.st_uid != 0:
        wrong = PermissionError(EPERM, f"belongs to uid {status.st_uid}", str(path))
    if wrong is not None:
        os.close(fd)
        raise wrong
    return fd


def _is_ready(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
