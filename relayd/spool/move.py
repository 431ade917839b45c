"""A move: what `mv` does to messages, durably, whoever else works in the spool. Raises OSError."""

import contextlib
from collections.abc import Iterable, Sequence

from relayd.spool.disk import Disk
from relayd.spool.layout import Layout


def move(layout: Layout, disk: Disk, names: Iterable[str], sources: Sequence[str], target: str) -> int:
    """Move files from these folders, wherever each is by now; how many were in one of them.

    The folders are synced once for all, at the end, also where that comes early.
    """
    moved = 0
    left: set[str] = set()
    try:
        for name in names:
            for source in sources:
                with contextlib.suppress(FileNotFoundError):
                    disk.rename(layout.message(source, name), layout.message(target, name))
                    left.add(source)
                    moved += 1
                    break
    finally:
        if left:
            for folder in (target, *sorted(left)):
                disk.sync_folder(layout.folder(folder))
    return moved
