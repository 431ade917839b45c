"""What a live worker shows of its progress to whoever watches over it."""

import os
import threading
import time
from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from relayd.spool.intake import LARGE
from tests.receive.live import WAIT, Live, live


def wait_until(running: Live, name: str, above: int) -> int:
    """The number of this name, once it is larger."""
    deadline = time.monotonic() + WAIT
    while (found := running.slot.get(name)) <= above:
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
    return found


class Hanging(Disk):
    """It waits for the test in each sync of a file."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def sync(self, fd: int) -> None:
        """Hangs."""
        os.read(self.reading, 1)
        super().sync(fd)

    def close_gate(self) -> None:
        """Give the pipe back."""
        os.close(self.reading)
        os.close(self.writing)


@pytest.mark.parametrize(("size", "name"), [(10, "disk_since"), (3 * LARGE, "large_since")])
def test_the_loop_beats_while_the_disk_holds_up_a_message(size: int, name: str, tmp_path: Path) -> None:
    """A sync that does not come back: since when is told, sessions are served, and the heart beats."""
    disk = Hanging()
    with live(tmp_path, disk=disk) as running:
        before = wait_until(running, "heartbeat", 0)
        assert running.slot.get(name) == 0
        with running.client() as client, running.client() as other:
            client.begins()
            client.says((b"x" * 98 + b"\r\n") * (size // 100 + 1))
            client.says(b".\r\n")
            since = wait_until(running, name, 0)
            assert since >= before - 1000
            wait_until(running, "heartbeat", wait_until(running, "heartbeat", before))
            other.says(b"NOOP\r\nQUIT\r\n")
            assert other.hears_all()[-1].startswith("221 ")
            wait_until(running, name, 0)
            os.write(disk.writing, b"xx")
            client.says(b"QUIT\r\n")
            assert client.hears_all()[-1].startswith("221 ")
        assert running.slot.get(name) == 0
    disk.close_gate()
