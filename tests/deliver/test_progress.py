"""What the delivery process shows of its progress to whoever watches over it."""

import asyncio
import os
import threading
from pathlib import Path

from relayd.spool.disk import Disk
from tests.deliver.process import configuration, delivery
from tests.deliver.running import LONGEST_SECONDS, run


def test_the_loop_beats_while_the_disk_holds_up_a_turn(tmp_path: Path) -> None:
    """A file that cannot be looked at: since when is told, and the heart beats."""
    hanging, gate = threading.Event(), threading.Event()

    class Hanging(Disk):
        """It waits for the test when it is told to."""

        def lstat(self, path: str) -> os.stat_result:
            """Hangs where a turn asks whether anything is paused."""
            if path.endswith("/paused") and is_up.is_set():
                hanging.set()
                gate.wait(LONGEST_SECONDS)
            return super().lstat(path)

    async def main() -> None:
        async with delivery(
            configuration(tmp_path, ("127.0.0.1", 53), 25), disk=Hanging(), poll_new=0.01
        ) as running:
            before = running.slot.get("heartbeat")
            assert before > 0
            is_up.set()
            assert await asyncio.to_thread(hanging.wait, LONGEST_SECONDS)
            since = running.slot.get("disk_since")
            assert since > 0
            while running.slot.get("heartbeat") == before:
                await asyncio.sleep(0.01)
            assert running.slot.get("disk_since") == since
            gate.set()

    is_up = threading.Event()
    run(main)
