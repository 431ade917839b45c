"""What the spool raises: only what cannot be said as a reply to a recipient.

Each error of the receiving side carries the reply its client gets, so that no caller has to choose one.
"""

import errno

from relayd.smtp.reply import Reply, reply


class SpoolError(Exception):
    """The spool could not do what was asked. `reply` is what a client that waits is told."""

    reply: Reply = reply(451, "4.3.0", "Error: queue file write error")


class SpoolFull(SpoolError):
    """No room: the disk, its inodes, a quota, or the configured minimum of free space."""

    reply = reply(452, "4.3.1", "Insufficient system storage")


class SpoolFailed(SpoolError):
    """The disk failed. When `uncertain`, the message may be there after a crash all the same."""

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class NotSound(SpoolError):
    """A file that is no whole message of ours; it belongs in failed/, for a person."""


class LeaseLost(SpoolError):
    """The job's token is not the live one: the attempt was settled, or somebody else has the message now."""


class NoSuchMessage(SpoolError):
    """No folder has a message of this ID."""


class WrongSpool(SpoolError):
    """The directory is no spool that this version can use: another program's, or a newer relayd's."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def from_os(error: OSError, doing: str) -> SpoolError:
    """The spool's error for an operating system's error."""
    text = f"{doing}: {error.strerror or error}"
    return SpoolFull(text) if error.errno in NO_ROOM else SpoolFailed(text)
