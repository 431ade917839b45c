"""Setting aside: what is not a sound message of ours is moved to failed/, for a person, and the log says why.

Nothing in failed/ is ever replaced. What cannot be moved stays and is reported once. Never fails.
"""

import os
from collections.abc import Callable

from relayd.base import events
from relayd.spool.disk import Disk
from relayd.spool.layout import Layout, parse_name
from relayd.spool.troubles import Troubles, shown

# Octets of a file name that leave room for a number behind it.
_LONGEST_NAME = 240


class Aside:
    """The way to failed/; `moved` hears of the folders whose names changed."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        report: Callable[[events.Event], None],
        troubles: Troubles,
        moved: Callable[[str], None],
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._report = report
        self._troubles = troubles
        self._moved = moved
        self.count = 0

    def put(self, folder: str, name: str, reason: str, new_name: str | None = None) -> None:
        """Move a file, or whatever it is, from one of the spool's folders to failed/."""
        doing = f"move {shown(name)} from {folder}/ to failed/"
        try:
            kept = self._free_name(new_name or name)
            self._disk.rename(self._layout.message(folder, name), self._layout.message("failed", kept))
        except FileNotFoundError:
            self._troubles.over(doing)
            return
        except OSError as error:
            self._troubles.met(doing, f"{error.strerror}; it is to be moved because {reason}")
            return
        self._troubles.over(doing)
        self._moved(folder)
        self._moved("failed")
        self.count += 1
        said = reason if kept == name else f"{reason}; it is failed/{shown(kept)} now"
        parsed = parse_name(name)
        told = shown(name) if parsed is None else parsed[0]
        self._report(events.QueueMoved(id=told, was=folder, now="failed", reason=said))

    def _free_name(self, name: str) -> str:
        octets = os.fsencode(name)
        base = name if len(octets) <= _LONGEST_NAME else os.fsdecode(octets[:_LONGEST_NAME])
        kept, number = base, 0
        while self._disk.exists(self._layout.message("failed", kept)):
            number += 1
            kept = f"{base}.{number}"
        return kept
