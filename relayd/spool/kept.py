"""Kept: the form of the file `exchangers` in the spool directory, where measures outlive the process.

Instants are seconds since 1970, durations seconds. Refuses to know what a measure is good for. `read` fails with
FileNotFoundError where there is none, and with NotSound, OSError or ValueError for what is no such file.
"""

import math
from ipaddress import ip_address

import msgspec

from relayd.spool.disk import Disk
from relayd.spool.layout import Layout
from relayd.spool.regular import open_regular, read_all

# A newer relayd that keeps its measures in another way writes another number.
FORMAT = "relayd exchangers 1"
OLDEST = 7 * 86_400.0
MOST = 5000
_LARGEST = 4 << 20
_LONGEST_SECONDS = 3600.0
_MOST_FAILURES = 1000


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One address of an exchanger; `heard` and `greeted` are the instants of its last connection and greeting."""

    exchanger: str
    address: str
    port: int
    heard: float
    greeted: float = 0.0
    greeting_s: float | None = None
    connect_s: float | None = None
    samples: int = 0
    sure: bool = False
    excess_s: float = 0.0
    trouble: float = 0.0
    failures: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether somebody's hand left it in a form that can be counted with."""
        try:
            ip_address(self.address)
        except ValueError:
            return False
        seconds = [each for each in (self.greeting_s, self.connect_s, self.excess_s) if each is not None]
        return (
            all(math.isfinite(each) and 0 <= each <= _LONGEST_SECONDS for each in seconds)
            and math.isfinite(self.heard)
            and math.isfinite(self.greeted)
            and 0 <= self.trouble <= 1
            and 0 <= self.failures <= _MOST_FAILURES
            and (self.samples > 0) == (self.greeting_s is not None)
        )


class Exchangers(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole file, the least recently heard of first; `written` and `blocked_since` are instants."""

    format: str
    written: float
    unanswered: tuple[str, ...] = ()
    blocked_since: float | None = None
    exchangers: tuple[Kept, ...] = ()

    def known(self, now: float) -> list[Kept]:
        """What is not too old, nor too much, and sound."""
        return [each for each in self.exchangers[-MOST:] if each.heard >= now - OLDEST and each.is_sound]


_decoder = msgspec.json.Decoder(Exchangers)


def path(layout: Layout) -> str:
    """Where it stands."""
    return f"{layout.root}/exchangers"


def read(disk: Disk, layout: Layout) -> Exchangers:
    """What was kept; see the module for what it raises."""
    fd, status = open_regular(disk, path(layout))
    try:
        content = read_all(disk, fd, min(status.st_size, _LARGEST))
    finally:
        disk.close(fd)
    try:
        found = _decoder.decode(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if found.format != FORMAT:
        raise ValueError(f"it is not in the format {FORMAT!r}")
    return found
