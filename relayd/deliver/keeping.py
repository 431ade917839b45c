"""Keeping: what was measured outlives the process, in the file `exchangers` of the spool directory.

It is written whole beside its place and moved there, now and then and at the end. In the file instants are seconds
since 1970; what is older than a week is left out, and so is the oldest of what is too much. A file that cannot be
read, or is not what was written here, counts for nothing: `read` says so and never raises. `write` raises OSError.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

import msgspec

from relayd.deliver.circuit import Circuit
from relayd.deliver.measures import Key, Latencies, Measure
from relayd.deliver.outward import Outward
from relayd.spool import kept
from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound
from relayd.spool.kept import Exchangers, Kept
from relayd.spool.layout import Layout


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
        self._path = kept.path(layout)
        self._disk = disk or Disk()
        self._clock = clock
        self._wall = wall

    def read(self) -> Memory:
        """What was kept."""
        try:
            found = kept.read(self._disk, self._layout)
        except FileNotFoundError:
            return Memory()
        except (NotSound, OSError, ValueError) as error:
            return Memory(trouble=f"{self._path} is not used: {str(error) or type(error).__name__}")
        shift = self._clock() - self._wall()
        outward = Outward(destinations=set(found.unanswered))
        if found.blocked_since is not None:
            outward.since = found.blocked_since + shift
        return Memory(
            tuple(self._measure(each, shift) for each in found.known(self._wall())),
            outward,
            max(0.0, self._wall() - found.written),
        )

    def snapshot(self, latencies: Latencies, outward: Outward) -> bytes:
        """The file's content as of now."""
        shift = self._wall() - self._clock()
        oldest = self._clock() - kept.OLDEST
        known = [(key, measure) for key, measure in latencies.all() if measure.heard_at >= oldest]
        measures = tuple(
            Kept(
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
            for (exchanger, address, port), measure in known[-kept.MOST :]
            if measure.samples or measure.circuit.failures
        )
        since = None if outward.since is None else outward.since + shift
        return msgspec.json.encode(
            Exchangers(kept.FORMAT, self._wall(), tuple(sorted(outward.destinations)), since, measures)
        )

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

    def _measure(self, found: Kept, shift: float) -> tuple[Key, Measure]:
        # A clock that was set back leaves instants in the future: they are now.
        now = self._clock()
        heard, greeted = min(now, found.heard + shift), min(now, found.greeted + shift)
        return (
            (found.exchanger, ip_address(found.address), found.port),
            Measure(
                connect_s=found.connect_s,
                latency_s=found.greeting_s,
                samples=found.samples,
                is_sure=found.sure,
                excess_s=found.excess_s,
                trouble=found.trouble,
                circuit=Circuit(found.failures, heard),
                heard_at=heard,
                greeted_at=greeted,
            ),
        )
