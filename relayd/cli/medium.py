"""The medium: what the spool's file system is, and what that means for mail that must not be lost."""

from collections.abc import Iterable
from pathlib import Path

import psutil

# By the system's names: in memory, and on another host.
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_ON_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs"})


def warning(directory: Path) -> str | None:
    """What is wrong with keeping mail there, or None."""
    mounts = [(each.mountpoint, each.fstype) for each in psutil.disk_partitions(all=True)]
    return about(directory, kind_of(directory, mounts))


def kind_of(directory: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """The type of the file system that a directory is on, of these mount points; the last one mounted counts."""
    found, depth = "", -1
    for point, kind in mounts:
        parts = len(Path(point).parts)
        if parts >= depth and directory.is_relative_to(point):
            found, depth = kind, parts
    return found


def about(directory: Path, kind: str) -> str | None:
    """The warning for a type of file system, or None."""
    if kind in _IN_MEMORY:
        return f"spool {directory} is on {kind}, which is memory: a power cut loses all mail in it"
    if kind in _ON_A_NETWORK:
        return f"spool {directory} is on {kind}, a network file system: what it calls durable may not be"
    return None
