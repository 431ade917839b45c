"""A move: what `mv` does to a message, durably, whoever else works in the spool. Raises OSError."""

import contextlib
from collections.abc import Sequence

from relayd.spool.disk import Disk
from relayd.spool.layout import Layout


def move(layout: Layout, disk: Disk, name: str, sources: Sequence[str], target: str) -> bool:
    """Move a file from one of these folders, wherever it is by now; False when it is in none of them."""
    for source in sources:
        with contextlib.suppress(FileNotFoundError):
            disk.rename(layout.message(source, name), layout.message(target, name))
            disk.sync_folder(layout.folder(target))
            disk.sync_folder(layout.folder(source))
            return True
    return False
