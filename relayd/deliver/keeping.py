"""Keeping: what was measured outlives the process, in the file `exchangers` of the spool directory.

It is written whole beside its place and moved there, now and then and at the end. In the file instants are seconds
since 1970; what is older than a week is left out, and so is the oldest of what is too much. A file that cannot be
read, or is not what was written here, counts for nothing: `read` says so and never raises. `write` raises OSError.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

import msgspec

from relayd.deliver.circuit import Circuit
from relayd.deliver.measures import Key, Latencies, Measure
from relayd.deliver.outward import Outward
from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound
from relayd.spool.layout import Layout
from relayd.spool.regular import open_regular, read_all

# A newer relayd that keeps its measures in another way writes another number.
_FORMAT = "relayd exchangers 1"
_OLDEST = 7 * 86_400.0
_MOST = 5000
_LARGEST = 4 << 20
_LONGEST_SECONDS = 3600.0
_MOST_FAILURES = 1000


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measure; the instants `heard` and `greeted` are seconds since 1970."""

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


class _File(msgspec.Struct, frozen=True, omit_defaults=True):
    """`written` and `blocked_since` are seconds since 1970."""

    format: str
    written: float
    unanswered: tuple[str, ...] = ()
    blocked_since: float | None = None
    exchangers: tuple[_Kept, ...] = ()


_decoder = msgspec.json.Decoder(_File)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a file gave: measures, with instants of the clock of whoever reads, and how the way out was.

    `age` is how many seconds ago it was written. Where a file is no good, `trouble` says why there is nothing.
    """

    measures: tuple[tuple[Key, Measure], ...] = ()
    outward: Outward = field(default_factory=Outward)
    age: float = 0.0
    trouble: str = ""


class Keeping:
    """One spool's file. `clock` is that of the measures, `wall` gives seconds since 1970."""

    def __init__(
        self, layout: Layout, disk: Disk | None, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._layout = layout
        self._path = f"{layout.root}/exchangers"
        self._disk = disk or Disk()
        self._clock = clock
        self._wall = wall

    def read(self) -> Memory:
        """What was kept."""
        try:
            fd, status = open_regular(self._disk, self._path)
            try:
                found = _decoder.decode(read_all(self._disk, fd, min(status.st_size, _LARGEST)))
            finally:
                self._disk.close(fd)
        except FileNotFoundError:
            return Memory()
        except (NotSound, OSError, ValueError, RecursionError) as error:
            return Memory(trouble=f"{self._path} is not used: {str(error) or type(error).__name__}")
        if found.format != _FORMAT:
            return Memory(trouble=f"{self._path} is not used: it is not in the format {_FORMAT!r}")
        shift = self._clock() - self._wall()
        oldest = self._wall() - _OLDEST
        kept = [each for each in found.exchangers[-_MOST:] if each.heard >= oldest and _is_sound(each)]
        outward = Outward(destinations=set(found.unanswered))
        if found.blocked_since is not None:
            outward.since = found.blocked_since + shift
        return Memory(
            tuple(self._measure(each, shift) for each in kept), outward, max(0.0, self._wall() - found.written)
        )

    def snapshot(self, latencies: Latencies, outward: Outward) -> bytes:
        """The file's content as of now."""
        shift = self._wall() - self._clock()
        oldest = self._clock() - _OLDEST
        known = [(key, measure) for key, measure in latencies.all() if measure.heard_at >= oldest]
        kept = tuple(
            _Kept(
                exchanger=exchanger,
                address=str(address),
                port=port,
                heard=round(measure.heard_at + shift, 3),
                greeted=round(measure.greeted_at + shift, 3) if measure.samples else 0.0,
                greeting_s=measure.latency_s,
                connect_s=measure.connect_s,
                samples=measure.samples,
                sure=measure.is_sure,
                excess_s=measure.excess_s,
                trouble=measure.trouble,
                failures=measure.circuit.failures,
            )
            for (exchanger, address, port), measure in known[-_MOST:]
            if measure.samples or measure.circuit.failures
        )
        since = None if outward.since is None else outward.since + shift
        return msgspec.json.encode(_File(_FORMAT, self._wall(), tuple(sorted(outward.destinations)), since, kept))

    def write(self, content: bytes) -> None:
        """Put a snapshot in the file's place."""
        written = f"{self._path}.new"
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(written)
        fd = self._disk.create(written)
        try:
            self._disk.write(fd, content + b"\n")
            # Without this a power cut could leave an empty file in the place of a good one.
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._disk.rename(written, self._path)

    def _measure(self, kept: _Kept, shift: float) -> tuple[Key, Measure]:
        # A clock that was set back leaves instants in the future: they are now.
        now = self._clock()
        heard, greeted = min(now, kept.heard + shift), min(now, kept.greeted + shift)
        return (
            (kept.exchanger, ip_address(kept.address), kept.port),
            Measure(
                connect_s=kept.connect_s,
                latency_s=kept.greeting_s,
                samples=kept.samples,
                is_sure=kept.sure,
                excess_s=kept.excess_s,
                trouble=kept.trouble,
                circuit=Circuit(kept.failures, heard),
                heard_at=heard,
                greeted_at=greeted,
            ),
        )


def _is_sound(kept: _Kept) -> bool:
    """Whether somebody's hand left it in a form that can be counted with."""
    try:
        ip_address(kept.address)
    except ValueError:
        return False
    seconds = [each for each in (kept.greeting_s, kept.connect_s, kept.excess_s) if each is not None]
    return (
        all(math.isfinite(each) and 0 <= each <= _LONGEST_SECONDS for each in seconds)
        and math.isfinite(kept.heard)
        and math.isfinite(kept.greeted)
        and 0 <= kept.trouble <= 1
        and 0 <= kept.failures <= _MOST_FAILURES
        and (kept.samples > 0) == (kept.greeting_s is not None)
    )
