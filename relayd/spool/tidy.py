"""Tidying: the syncs that need no haste, once a second, and the end of journals.

The journal of a message that has ended goes only after the message's name is gone for good, so that a power cut
cannot bring back the message without what is known of it. Trouble is reported once and met again the next time.
"""

import contextlib
from collections.abc import Callable

from relayd.spool.disk import Disk
from relayd.spool.layout import Layout
from relayd.spool.ledger import Ledger
from relayd.spool.troubles import Troubles

_FOLDERS = "sync the spool's folders"
_LEDGER = "sync the ledger"


class Tidying:
    """What waits to be made durable."""

    def __init__(self, layout: Layout, disk: Disk, ledger: Ledger, troubles: Troubles) -> None:
        self._layout = layout
        self._disk = disk
        self._ledger = ledger
        self._troubles = troubles
        self._changed: set[str] = set()
        self._ended: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether nothing waits."""
        return not self._changed and not self._ended

    def moved(self, folder: str) -> None:
        """Names in a folder changed."""
        self._changed.add(folder)

    def ended(self, message_id: str) -> None:
        """A message that has a journal is gone."""
        self._ended.append(message_id)
        # It may have been in either, and a move between them that is not durable yet would bring it back.
        self._changed.update(("new", "cur"))

    def run(self, is_known: Callable[[str], bool]) -> None:
        """Do it now; a journal whose message came back, as `is_known` says, stays."""
        ended, self._ended = self._ended, []
        # First the line that says where recipients have gone, then that they have.
        try:
            self._ledger.sync()
            self._troubles.over(_LEDGER)
        except OSError as error:
            self._troubles.met(_LEDGER, error.strerror or str(error))
        try:
            for folder in sorted(self._changed):
                self._disk.sync_folder(self._layout.folder(folder))
                self._changed.discard(folder)
        except OSError as error:
            # What a failed sync has lost no later one will say: these journals stay for the next start.
            self._troubles.met(_FOLDERS, error.strerror or str(error))
            return
        self._troubles.over(_FOLDERS)
        for message_id in ended:
            if not is_known(message_id):
                with contextlib.suppress(OSError):
                    self._disk.unlink(self._layout.journal(message_id))
