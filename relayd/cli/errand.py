"""An errand: work in a process of its own that is waited for in bounded time, however long the disk takes.

A thread would not do: a process ends only when the kernel gives all of its threads back. Refuses to know the work.
What does not come back is left behind, with a kill on its way.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

_STEP_SECONDS = 0.1
_LARGEST = 1 << 16


class Errand:
    """Begun when it is made; `work` gives octets, and raises nothing that matters."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        self._reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._reading)
                _write(writing, work())
            finally:
                os._exit(0)
        os.close(writing)

    def result(self, patience: float, longest: float) -> bytes | None:
        """What it gives; None when it has done nothing at all for `patience` seconds, or is not done in `longest`.

        It is asked for once.
        """
        found = b""
        began = moved_at = time.monotonic()
        moved = -1
        try:
            while True:
                ready, _, _ = select.select([self._reading], [], [], _STEP_SECONDS)
                now = time.monotonic()
                if ready:
                    portion = os.read(self._reading, _LARGEST)
                    if not portion:
                        return found
                    found += portion
                used = _used(self._pid)
                if ready or used is None or used != moved:
                    moved, moved_at = -1 if used is None else used, now
                if now - moved_at >= patience or now - began >= longest:
                    return None
        finally:
            os.close(self._reading)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, os.WNOHANG)


def _used(pid: int) -> int | None:
    """How long it has had a processor, in nanoseconds; None while it wants one, or where nobody knows."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] == b"R":
                return None
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _write(fd: int, octets: bytes) -> None:
    while octets:
        octets = octets[os.write(fd, octets) :]
