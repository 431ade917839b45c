"""A message file: opened, checked against its name, and read as far as its envelope reaches.

Raises what `regular` raises, and NotSound for a file that is not the whole message that its name promises. A
file is never read whole because it is large: mail data beyond the first portion is for whoever sends it.
"""

from collections.abc import Iterable, Iterator

import msgspec

from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, head_end, unpack
from relayd.spool.errors import NoSuchMessage, NotSound, from_os
from relayd.spool.layout import Layout, parse_name
from relayd.spool.regular import open_regular

# An envelope with a hundred thousand recipients has some 30 MB.
_LARGEST_HEAD = 64 << 20
_PORTION = 262_144


class Message(msgspec.Struct, frozen=True):
    """`offset` is where the mail data begins; `mail_data` is there when the first portion held all of it.

    `mtime` is in seconds since 1970, `links` the number of names that the file has.
    """

    envelope: Envelope
    offset: int
    mail_data: bytes | None
    mtime: float
    links: int


class StillWritten(Exception):
    """Somebody holds a lock on the file: a worker that has not made it durable yet."""


def open_message(
    disk: Disk, path: str, size: int, portion: int, *, is_known: bool = False, heeds_lock: bool = False
) -> Message:
    """Read the envelope and the mail data within the first `portion` octets of a file of `size`.

    `is_known` is that of `open_regular`. With `heeds_lock` raise StillWritten when somebody is not done with it.
    """
    fd, status = open_regular(disk, path, is_known=is_known)
    try:
        if heeds_lock and disk.is_locked(fd):
            raise StillWritten
        if status.st_size != size:
            raise NotSound(f"it has {status.st_size} octets, its name says {size}")
        start, offset = read_head(disk, fd, size, portion)
    finally:
        disk.close(fd)
    mail_data = start[offset:] if len(start) == size else None
    return Message(unpack(start[:offset]), offset, mail_data, status.st_mtime, status.st_nlink)


def read_head(disk: Disk, fd: int, size: int, portion: int) -> tuple[bytes, int]:
    """The beginning of a file of `size` octets, and where in it the mail data begins; raises NotSound."""
    start = disk.read(fd, min(size, portion), 0)
    offset = head_end(start)
    while offset < 0 and len(start) < min(size, _LARGEST_HEAD):
        more = disk.read(fd, min(size - len(start), max(len(start), portion)), len(start))
        if not more:
            break
        start += more
        offset = head_end(start)
    if offset < 0:
        raise NotSound("it has no empty line after the envelope")
    return start, offset


def mail_data(disk: Disk, layout: Layout, states: Iterable[str], name: str, offset: int) -> Iterator[bytes]:
    """A message's mail data in portions, from the first of the folders that has it; raises SpoolError."""
    fd, size = _open_somewhere(disk, layout, states, name)
    try:
        while offset < size:
            portion = disk.read(fd, min(size - offset, _PORTION), offset)
            if not portion:
                raise NotSound(f"{name}: it became {size - offset} octets shorter")
            offset += len(portion)
            yield portion
    except OSError as error:
        raise from_os(error, f"read {name}") from error
    finally:
        disk.close(fd)


def _open_somewhere(disk: Disk, layout: Layout, states: Iterable[str], name: str) -> tuple[int, int]:
    """A descriptor, and the size that the name says and the file has."""
    parsed = parse_name(name)
    for state in states:
        try:
            fd, status = open_regular(disk, layout.message(state, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise from_os(error, f"read {name}") from error
        if parsed is not None and status.st_size == parsed[1]:
            return fd, status.st_size
        disk.close(fd)
        raise NotSound(f"{name}: it has {status.st_size} octets")
    raise NoSuchMessage(f"{name}: the file is gone")
