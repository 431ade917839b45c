"""Ownership: whose the files and folders are that root opens or makes where the relay's user may rename them.

What is a link, or has a second name, or belongs to somebody else is refused before anything of it is changed: root
would write to, or give away, what the name leads to. Fails with StartFailed.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

# Without waiting, in case a FIFO has the name, and without emptying it, in case it is somebody's.
_FLAGS = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def own_file(path: Path, owner: Identity, kind: str, mode: int, flags: int = os.O_WRONLY) -> int:
    """Open a file that is the owner's, made where it is missing; give its descriptor.

    `kind` is what it is for people, "pid file"; `mode` is that of a new one. One that belongs to root is given to
    the owner by root: whoever looked after the host may have made it.
    """
    try:
        fd = os.open(path, flags | _FLAGS, mode)
    except OSError as error:
        raise StartFailed(f"{kind} {path}: {_why(error)}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise StartFailed(f"{kind} {path}: not a regular file")
        if found.st_uid != owner.uid and not _may_give(found):
            raise StartFailed(f"{kind} {path}: belongs to uid {found.st_uid}, not to {owner.name}")
        if found.st_uid != owner.uid:
            if found.st_nlink > 1:
                raise StartFailed(f"{kind} {path}: has a second name, and belongs to root; not given away")
            os.fchown(fd, owner.uid, owner.gid)
    except OSError as error:
        os.close(fd)
        raise StartFailed(f"{kind} {path}: {error.strerror}") from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_spool(directory: Path, owner: Identity) -> None:
    """Refuse a spool that is no directory, or somebody else's; one that is missing is fine, and so is root's."""
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise StartFailed(f"{directory} is a symbolic link; a spool must not be one")
    if not stat.S_ISDIR(found.st_mode):
        raise StartFailed(f"{directory} is no directory; a spool must be one")
    if found.st_uid != owner.uid and not _may_give(found):
        raise StartFailed(f"{directory} belongs to uid {found.st_uid}, not to {owner.name}")


def check_folders(folders: Iterable[str], owner: Identity) -> None:
    """The same for the folders in it, which are there by now, and are nobody's but the owner's."""
    for folder in folders:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode):
            raise StartFailed(f"{folder} is no directory; the folders of a spool must be, and no links")
        if found.st_uid != owner.uid:
            raise StartFailed(
                f"{folder} belongs to uid {found.st_uid}, not to {owner.name}; "
                f"if it was never anybody else's: chown -R {owner.name}: {os.path.dirname(folder)}"
            )


def _may_give(found: os.stat_result) -> bool:
    return os.geteuid() == 0 and found.st_uid == 0


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symbolic link; it must not be one"
    if error.errno in (errno.ENXIO, errno.EISDIR):
        return "not a regular file"
    return error.strerror or str(error)
