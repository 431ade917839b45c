"""A disk: the few system calls the spool is made of, each by its name, so that a test can stand in for them.

Every method is one step that a crash may follow; nothing here decides anything. Fails with OSError.
"""

import fcntl
import os
import time
from collections.abc import Sequence

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
# Nothing that could block is opened: a FIFO by somebody's hand must not stop the queue.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_BOOT = "/proc/sys/kernel/random/boot_id"
_KERNEL = "/proc/stat"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class Disk:
    """The real one."""

    # Files.

    def create(self, path: str) -> int:
        """Open a new file for writing, for its owner only."""
        return os.open(path, _NEW, 0o600)

    def open(self, path: str) -> int:
        """Open for reading, without following a link and without waiting."""
        try:
            # A file that is due later would get a new access time at every look, since it is older than its mtime:
            # a hundred thousand inodes to be written, and each commit waits for them.
            return os.open(path, _READ | os.O_NOATIME)
        except PermissionError:
            # The owner's right only.
            return os.open(path, _READ)

    def open_append(self, path: str) -> int:
        """Open for appending, made for its owner only when it is not there."""
        return os.open(path, _APPEND, 0o600)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)

    def lock(self, fd: int) -> None:
        """Mark a file as somebody's work; the mark ends with the descriptor, however its process ends."""
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def is_locked(self, fd: int) -> bool:
        """Whether somebody else has marked it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to so many octets from a place."""
        return os.pread(fd, size, offset)

    def write(self, fd: int, octets: bytes) -> None:
        """Write all of it, in one call where the system takes it so."""
        written = os.write(fd, octets)
        while written < len(octets):
            written += os.write(fd, memoryview(octets)[written:])

    def start_write_back(self, fd: int) -> None:
        """Let the kernel begin to write what was written, without waiting for it."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def allocate(self, fd: int, size: int) -> None:
        """Give the file so many octets of its own on the medium."""
        os.posix_fallocate(fd, 0, size)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file off."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Wait until the file's content is on the medium. An error is final for this descriptor."""
        os.fsync(fd)

    def sync_all(self, fds: Sequence[int]) -> list[OSError | None]:
        """The same for several files: for each what went wrong, or None."""
        found: list[OSError | None] = []
        for fd in fds:
            try:
                self.sync(fd)
                found.append(None)
            except OSError as error:
                found.append(error)
        return found

    def sync_with_folder(self, fds: Sequence[int], path: str) -> tuple[list[OSError | None], OSError | None]:
        """Wait until the content of several files, and the names in a folder, are on the medium."""
        found = self.sync_all(fds)
        try:
            self.sync_folder(path)
        except OSError as error:
            return found, error
        return found, None

    def stat(self, fd: int) -> os.stat_result:
        """What an open file is."""
        return os.fstat(fd)

    # Names.

    def lstat(self, path: str) -> os.stat_result:
        """What has this name, without following a link."""
        return os.lstat(path)

    def exists(self, path: str) -> bool:
        """Whether something has this name."""
        return os.access(path, os.F_OK, follow_symlinks=False)

    def names(self, path: str) -> list[str]:
        """All names in a folder, in no order; what is not UTF-8 in them as surrogates."""
        return os.listdir(path)

    def files(self, path: str) -> list[tuple[str, bool]]:
        """The same, and of each name whether it is a regular file's."""
        with os.scandir(path) as entries:
            return [(entry.name, entry.is_file(follow_symlinks=False)) for entry in entries]

    def rename(self, source: str, target: str) -> None:
        """Move a name; the target, where there is one, is replaced."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Take a name away."""
        os.unlink(path)

    def touch(self, path: str, mtime: float) -> None:
        """Set the time that is the schedule, in seconds since 1970."""
        os.utime(path, (mtime, mtime), follow_symlinks=False)

    # Folders and the whole.

    def make_root(self, path: str) -> None:
        """Make the spool's own folder and those above it, where they are missing."""
        os.makedirs(path, mode=0o755, exist_ok=True)

    def make_folder(self, path: str, owner: tuple[int, int] | None) -> None:
        """Make a folder for its owner only; as root for `owner` (user, group)."""
        os.mkdir(path, 0o700)
        if owner is not None:
            # By descriptor: the name could be somebody else's by now.
            fd = os.open(path, _FOLDER)
            try:
                os.fchown(fd, *owner)
            finally:
                os.close(fd)

    def give(self, fd: int, owner: tuple[int, int]) -> None:
        """Make an open file the owner's (user, group), as root."""
        os.fchown(fd, *owner)

    def sync_folder(self, path: str) -> None:
        """Wait until the names in a folder are on the medium."""
        fd = self.open_folder(path)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def open_folder(self, path: str) -> int:
        """A descriptor of a folder, to be synced."""
        return os.open(path, _FOLDER)

    def rest(self, seconds: float) -> None:
        """Let other processes go on."""
        time.sleep(seconds)

    def waits(self) -> list[float]:
        """Seconds that each sync since the last call took; nothing where that is not measured."""
        return []

    def may_write(self, path: str) -> bool:
        """Whether this process may make and take names in a folder."""
        return os.access(path, os.W_OK | os.X_OK)

    def user(self) -> int:
        """Whose files this process can make."""
        return os.geteuid()

    def boot(self) -> str:
        """What tells this run of the machine from any other."""
        with open(_BOOT) as file:
            return file.read(64).strip()

    def started(self) -> float:
        """When this run of the machine began, in seconds since 1970."""
        with open(_KERNEL) as file:
            return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)

    def free(self, path: str) -> tuple[int, int]:
        """Free octets and free inodes for a user who is not root; inodes are -1 where there is no such count."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize, status.f_favail if status.f_files else -1
