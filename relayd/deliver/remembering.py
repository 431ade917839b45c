"""Remembering: when what was measured is read from the spool directory and when it is written there.

The file is nobody's mail: what goes wrong with it is told and ends nothing.
"""

from relayd.base import events
from relayd.deliver.keeping import Keeping
from relayd.deliver.thread import SpoolThread
from relayd.deliver.ways import Ways

_EVERY_SECONDS = 60.0


class Remembering:
    """For one process; the file is read and written on the spool's thread."""

    def __init__(self, keeping: Keeping, ways: Ways, thread: SpoolThread) -> None:
        self._keeping = keeping
        self._ways = ways
        self._thread = thread
        self._kept_at = ways.clock()
        self._kept_version = ways.latencies.version

    async def recall(self) -> None:
        """Take over what was kept."""
        try:
            found = await self._thread.ask(self._keeping.read)
        except Exception as error:
            self._tell(error)
            return
        if found.trouble:
            self._ways.write(events.SpoolTrouble(reason=found.trouble))
        self._ways.latencies.restore(found.measures)
        outward = self._ways.outward
        outward.since, outward.destinations = found.outward.since, found.outward.destinations
        self._kept_version = self._ways.latencies.version

    def tend(self) -> None:
        """Write it when it is time; to be called now and then."""
        now, version = self._ways.clock(), self._ways.latencies.version
        if now - self._kept_at < _EVERY_SECONDS or version == self._kept_version:
            return
        self._kept_at, self._kept_version = now, version
        content = self._keeping.snapshot(self._ways.latencies, self._ways.outward)
        self._thread.submit(lambda: self._keeping.write(content), self._told)

    async def keep(self) -> None:
        """Write it now: the process ends."""
        if self._ways.latencies.version == self._kept_version:
            return
        self._kept_version = self._ways.latencies.version
        content = self._keeping.snapshot(self._ways.latencies, self._ways.outward)
        try:
            await self._thread.ask(lambda: self._keeping.write(content))
        except Exception as error:
            self._tell(error)

    def _told(self, result: object) -> None:
        if isinstance(result, Exception):
            self._tell(result)

    def _tell(self, error: Exception) -> None:
        self._ways.write(events.SpoolTrouble(reason=f"exchangers: {error}"))
