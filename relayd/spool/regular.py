"""A regular file of ours: opened only when it is one, whoever put what in its place.

The spool's folders are open to people, so a name may stand for anything. Nothing that could block is opened, and
no link followed. Raises NotSound for what is no regular file of ours, FileNotFoundError when nothing has the
name, and OSError when the system cannot say now: that says nothing about the file.
"""

import errno
import os
import stat

from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound

# What opening a name that is there says about the file itself, rather than about the system.
_ABOUT_THE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR})

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def open_regular(disk: Disk, path: str, *, is_known: bool = False) -> tuple[int, os.stat_result]:
    """A descriptor for reading, and what it is open on.

    `is_known` when its folder, or whoever wrote it, has just said what it is.
    """
    if not is_known:
        # Before the open, since opening some devices is an act by itself.
        _check_kind(disk.lstat(path))
    try:
        fd = disk.open(path)
    except OSError as error:
        if error.errno in _ABOUT_THE_FILE:
            raise NotSound(f"it cannot be opened: {error.strerror}") from None
        raise
    try:
        # After it, since the name may stand for another file by now.
        status = disk.stat(fd)
        _check_kind(status)
        user = disk.user()
        if user not in (0, status.st_uid):
            raise NotSound(f"it belongs to user {status.st_uid}, not to user {user}")
    except BaseException:
        disk.close(fd)
        raise
    return fd, status


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotSound(f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no regular file')}")


def read_all(disk: Disk, fd: int, size: int) -> bytes:
    """The first `size` octets of a file, fewer only at its end."""
    content = disk.read(fd, size, 0)
    while len(content) < size and (more := disk.read(fd, size - len(content), len(content))):
        content += more
    return content
