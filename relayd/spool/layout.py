"""The layout: the folders of a spool directory, the names of the files in them, and the format they are in.

    tmp/      being written          new/      due now            cur/      due at its mtime
    hold/     set aside by a person  failed/   not sound          journal/  outcomes, by ID
    ledger/   what came and went     reserve/  room for journals  format    whose directory this is

`create` and `check` raise WrongSpool for a directory of another program or a newer version, and OSError where the
disk does not do what it should. Refuses to know what is in a message.
"""

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from relayd.spool.disk import Disk
from relayd.spool.errors import WrongSpool
from relayd.spool.ids import ID_FORM, is_id

# The order decides when one ID stands in two folders: the first wins.
STATES = ("hold", "failed", "cur", "new")
_FOLDERS = ("tmp", "new", "cur", "hold", "failed", "journal", "ledger", "reserve")

_NAME = re.compile(f"({ID_FORM}),S=(0|[1-9][0-9]{{0,14}})")

# A newer relayd that keeps its spool in another way writes another number.
_FORMAT = b"relayd spool 1\n"
_OTHER_FORMAT = re.compile(rb"relayd spool ([0-9]{1,9})\n")
_LARGEST_FORMAT = 100


@dataclass(frozen=True)
class Layout:
    """Paths as text, since they are joined once for every message."""

    root: str

    @property
    def delivery_lock(self) -> Path:
        """What the one delivery process holds."""
        return Path(self.root) / "delivery.lock"

    def folder(self, name: str) -> str:
        """The path of one of the folders above."""
        return f"{self.root}/{name}"

    def folders(self) -> list[str]:
        """The paths of all of them."""
        return [self.folder(name) for name in _FOLDERS]

    def draft(self, message_id: str) -> str:
        """Where a message is written."""
        return f"{self.root}/tmp/{message_id}"

    def prepared(self, message_id: str, attempt: int) -> str:
        """Where the notification of a message's failed attempt is written."""
        return f"{self.root}/tmp/{message_id}.{attempt}"

    def message(self, state: str, name: str) -> str:
        """Where a message stands once it is whole."""
        return f"{self.root}/{state}/{name}"

    def journal(self, message_id: str) -> str:
        """Where a message's outcomes are."""
        return f"{self.root}/journal/{message_id}"

    def create(self, owner: tuple[int, int] | None = None, *, disk: Disk | None = None) -> None:
        """Make what is missing, for the owner only; with `owner` (user, group) as root."""
        disk = disk or Disk()
        disk.make_root(self.root)
        if disk.exists(f"{self.root}/format"):
            self.check(disk=disk)
        else:
            self._claim_directory(owner, disk)
        for name in _FOLDERS:
            try:
                disk.make_folder(self.folder(name), owner)
            except FileExistsError:
                continue
        disk.sync_folder(self.root)

    def check(self, *, disk: Disk | None = None) -> None:
        """Make sure that this is a spool in the format of this version."""
        disk = disk or Disk()
        try:
            fd = disk.open(f"{self.root}/format")
        except FileNotFoundError:
            raise WrongSpool(f"{self.root} is no spool of relayd: there is no file {self.root}/format") from None
        try:
            found = disk.read(fd, _LARGEST_FORMAT, 0)
        finally:
            disk.close(fd)
        if found == _FORMAT:
            return
        other = _OTHER_FORMAT.fullmatch(found)
        if other is not None:
            raise WrongSpool(f"{self.root} is in format {int(other[1])}; this relayd reads format 1 only")
        raise WrongSpool(f"{self.root} is no spool of relayd: {self.root}/format does not say so")

    def check_use(self, *, disk: Disk | None = None) -> None:
        """The same, for a process that is to work there: its user must be allowed to."""
        disk = disk or Disk()
        self.check(disk=disk)
        for name in _FOLDERS:
            if not disk.may_write(self.folder(name)):
                raise PermissionError(f"{self.folder(name)}: not writable for uid {disk.user()}")

    def _claim_directory(self, owner: tuple[int, int] | None, disk: Disk) -> None:
        """Write the format into a directory that nobody uses; a pid file or a README may be there already."""
        for name in disk.names(self.root):
            # A file system of its own has a lost+found.
            if name != "lost+found" and stat.S_ISDIR(disk.lstat(f"{self.root}/{name}").st_mode):
                raise WrongSpool(f"{self.root} is no spool of relayd, and not empty: it has a folder {name!r}")
        written = f"{self.root}/format.new"
        if disk.exists(written):
            disk.unlink(written)
        fd = disk.create(written)
        try:
            if owner is not None:
                disk.give(fd, owner)
            disk.write(fd, _FORMAT)
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.rename(written, f"{self.root}/format")


def name_of(message_id: str, size: int) -> str:
    """The file name of a message; the size shows a short file at once."""
    return f"{message_id},S={size}"


def parse_name(name: str) -> tuple[str, int] | None:
    """The ID and the size in octets that a file name says, or None when it is no name of ours."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def parse_prepared(name: str) -> tuple[str, int] | None:
    """The ID and the attempt that the name of a notification being written says, or None."""
    message_id, point, attempt = name.partition(".")
    if not (point and is_id(message_id) and attempt.isascii() and attempt.isdigit() and len(attempt) <= 9):
        return None
    return message_id, int(attempt)
