"""The past: what the ledger says of one message, also when nothing else of it is left. It changes nothing.

Raises OSError.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from relayd.base.grep import lines_with
from relayd.spool.disk import Disk
from relayd.spool.ids import arrival
from relayd.spool.layout import Layout
from relayd.spool.ledger import Line

_PORTION = 1 << 20
# A clock that was set back between the message and the line about it.
_SLACK_SECONDS = 2 * 86_400.0
# The year 9999.
_LATEST = 253_402_300_799.0

_line = msgspec.json.Decoder(Line)


def lines_about(message_id: str, layout: Layout, disk: Disk) -> Iterator[Line]:
    """The ledger's lines about a message, oldest file first."""
    # An ID may say any time, up to a year that no calendar has.
    since = datetime.fromtimestamp(min(max(0.0, arrival(message_id) - _SLACK_SECONDS), _LATEST), UTC).date()
    for day in sorted(disk.names(layout.folder("ledger"))):
        if day < str(since):
            continue
        fd = disk.open(layout.message("ledger", day))
        try:
            for found in lines_with(_portions(disk, fd), message_id.encode()):
                try:
                    line = _line.decode(found)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    # One that could not be written whole.
                    continue
                if line.id == message_id:
                    yield line
        finally:
            disk.close(fd)


def _portions(disk: Disk, fd: int) -> Iterator[bytes]:
    offset = 0
    while portion := disk.read(fd, _PORTION, offset):
        offset += len(portion)
        yield portion
