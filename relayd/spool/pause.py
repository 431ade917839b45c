"""A pause: what an operator does not want delivered for the time being, in a file that outlives every process.

`*` stands for everything, else it is the domain of the recipients. Refuses to know what follows. Reading never
fails: a file that cannot be read pauses everything, since somebody meant something by it.
"""

import contextlib
import os

import msgspec

from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound
from relayd.spool.layout import Layout
from relayd.spool.regular import open_regular, read_all

EVERYTHING = "*"
_LARGEST = 1 << 20

_decoder = msgspec.json.Decoder(tuple[str, ...])


class Pause:
    """One spool's; `current` is cheap while nothing changes."""

    def __init__(self, layout: Layout, disk: Disk | None = None) -> None:
        self._path = f"{layout.root}/paused"
        self._layout = layout
        self._disk = disk or Disk()
        self._seen: tuple[int, int] | None = None
        self._paused: frozenset[str] = frozenset()

    def current(self) -> frozenset[str]:
        """What is paused now."""
        try:
            status = self._disk.lstat(self._path)
        except FileNotFoundError:
            self._seen, self._paused = None, frozenset()
            return self._paused
        except OSError:
            self._seen, self._paused = None, frozenset({EVERYTHING})
            return self._paused
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            self._seen, self._paused = seen, self._read()
        return self._paused

    def add(self, what: str) -> None:
        """Pause a domain, or EVERYTHING; raises OSError."""
        self._write(self.current() | {what})

    def discard(self, what: str) -> None:
        """End the pause of a domain; with EVERYTHING all pauses end. Raises OSError."""
        self._write(frozenset() if what == EVERYTHING else self.current() - {what})

    def _read(self) -> frozenset[str]:
        try:
            fd, status = open_regular(self._disk, self._path)
            try:
                return frozenset(_decoder.decode(read_all(self._disk, fd, min(status.st_size, _LARGEST))))
            finally:
                self._disk.close(fd)
        except FileNotFoundError:
            return frozenset()
        except (NotSound, OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return frozenset({EVERYTHING})

    def _write(self, paused: frozenset[str]) -> None:
        written = f"{self._path}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(written)
        fd = self._disk.create(written)
        try:
            self._disk.write(fd, msgspec.json.encode(sorted(paused)) + b"\n")
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._disk.rename(written, self._path)
        self._disk.sync_folder(self._layout.root)
