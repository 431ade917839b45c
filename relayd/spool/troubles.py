"""Troubles: what the disk refuses, reported once and not each second for as long as it lasts. Touches no file."""

import os
from collections.abc import Callable

from relayd.base import events


class Troubles:
    """What is wrong at present, by what was to be done."""

    def __init__(self, report: Callable[[events.Event], None]) -> None:
        self._report = report
        self._reported: dict[str, str] = {}

    def met(self, doing: str, reason: str, message_id: str = "") -> None:
        """Something could not be done; said again only for another reason, or when it was over meanwhile."""
        if self._reported.get(doing) != reason:
            self._reported[doing] = reason
            self._report(events.SpoolTrouble(reason=f"{doing}: {reason}", id=message_id))

    def over(self, doing: str) -> None:
        """It could be done."""
        self._reported.pop(doing, None)


def shown(name: str) -> str:
    """A file name for a log line: what is not UTF-8 in it as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
