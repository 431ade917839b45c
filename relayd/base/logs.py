"""Logs: what a log file, and those that logrotate made of it, say of an ID. Refuses to know what it means.

What cannot be read is told beside what was found, and hides nothing else.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from relayd.base.grep import lines_with
from relayd.base.line import Read, read

_Packed = gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File

_PORTION = 1 << 20
# What stands between a log's name and what it is packed with: a number or a date.
_TURN = r"[-.][0-9][-0-9_.T]{0,30}"
_PACKED: dict[str, Callable[[IO[bytes]], _Packed]] = {
    ".gz": partial(gzip.GzipFile, "", "rb", 9),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}
# A file whose last line is older than what is asked for has nothing of it; clocks may differ by so much.
_SLACK_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Logs:
    """One log with its older files; `troubles` fills with what could not be read and why, each once."""

    path: Path
    troubles: list[str] = field(default_factory=list)

    def files(self) -> list[Path]:
        """The file itself and those that were rotated, in no order."""
        name, stem, suffix = self.path.name, self.path.stem, self.path.suffix
        form = re.compile(
            f"(?:{re.escape(name)}(?:{_TURN})?|{re.escape(stem)}{_TURN}{re.escape(suffix)})(?:\\.gz|\\.xz|\\.bz2)?",
            re.ASCII,
        )
        try:
            names = os.listdir(self.path.parent)
        except OSError as error:
            self._trouble(self.path.parent, error.strerror or str(error))
            return []
        return sorted(self.path.parent / each for each in names if form.fullmatch(each))

    def about(self, message_id: str, since: float) -> Iterator[Read]:
        """The lines that have the ID in them, of files that were written to after `since` (seconds since 1970).

        Each once, however many files have it: a copy, or one that is being packed.
        """
        elsewhere: set[bytes] = set()
        for path in self.files():
            here: set[bytes] = set()
            try:
                for line in self._lines(path, message_id, since):
                    here.add(line)
                    found = read(line.decode("utf-8", "replace"))
                    if found is not None and line not in elsewhere:
                        yield found
            except FileNotFoundError:
                # Rotated a moment ago; under its new name it is met, or was.
                continue
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                self._trouble(path, getattr(error, "strerror", None) or str(error))
            elsewhere |= here

    def _lines(self, path: Path, message_id: str, since: float) -> Iterator[bytes]:
        # Without waiting, in case a FIFO has the name.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                self._trouble(path, "not a regular file")
                return
            if status.st_mtime < since - _SLACK_SECONDS:
                return
            packed = _PACKED.get(path.suffix)
            source = file if packed is None else packed(file)
            yield from lines_with(iter(lambda: source.read(_PORTION), b""), message_id.encode())

    def _trouble(self, path: Path, why: str) -> None:
        told = f"{path} cannot be read: {why}"
        if told not in self.troubles:
            self.troubles.append(told)
