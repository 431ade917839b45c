"""A password: read from its file at each use, so that a new one counts at once. It is shown nowhere.

The file is a regular one that others may not use, and the password its only line. Fails with `PasswordError`, one
line that names the file and shows nothing of it.
"""

import os
import stat
from pathlib import Path

_LARGEST = 4096


class PasswordError(Exception):
    """The file, and what is wrong with it."""


def read_password(path: Path) -> str:
    """The password; raises PasswordError."""
    try:
        # What is no regular file must not be waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise PasswordError(f"{path}: {error.strerror}") from None
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise PasswordError(f"{path}: not a regular file")
        if mode & stat.S_IRWXO:
            raise PasswordError(f"{path}: others may use it; its mode must end in 0, as 0640 or 0600 do")
        octets = os.read(fd, _LARGEST + 1)
    except OSError as error:
        raise PasswordError(f"{path}: {error.strerror}") from None
    finally:
        os.close(fd)
    return _checked(path, octets)


def _checked(path: Path, octets: bytes) -> str:
    if len(octets) > _LARGEST:
        raise PasswordError(f"{path}: longer than {_LARGEST} octets")
    try:
        lines = octets.decode().splitlines()
    except UnicodeDecodeError:
        raise PasswordError(f"{path}: not UTF-8") from None
    if not lines or not lines[0]:
        raise PasswordError(f"{path}: no password in it")
    if len(lines) > 1:
        raise PasswordError(f"{path}: more than one line")
    if not lines[0].isprintable():
        raise PasswordError(f"{path}: control characters are in no password")
    return lines[0]
