"""Notify: what systemd is told (sd_notify(3)): ready, reloading, stopping, how it stands, and that all goes on.

One datagram each; nobody who asked to be told means that nothing is sent. It never fails, and waits for a moment
at most: a service manager that is busy must hear that we are ready, one that does not listen must not stop us.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

_LONGEST_STATUS = 1000
_PATIENCE_SECONDS = 1.0
_LONGER_SECONDS = 30


class Notify:
    """Made from the environment; `beat_every` is in seconds, None where no watchdog waits for us."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._status = ""
        self.beat_every: float | None = None
        if self._address is not None and environment.get("WATCHDOG_PID", str(pid)) == str(pid):
            self.beat_every = _half(environment.get("WATCHDOG_USEC", ""))

    def starting(self) -> None:
        """It takes its time, as a large spool on a slow disk does, and goes on: wait at least this much longer."""
        self._say(f"EXTEND_TIMEOUT_USEC={_LONGER_SECONDS * 1_000_000}", patience=0.0)

    def ready(self, pid: int) -> None:
        """Everything runs, for the first time or again after a reload."""
        self._say("READY=1", f"MAINPID={pid}")

    def reloading(self, now: float) -> None:
        """A reload begins; `now` is monotonic. `ready` ends it, whatever came of it."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}")

    def stopping(self) -> None:
        """The end begins."""
        self._say("STOPPING=1")

    def status(self, line: str) -> None:
        """How it stands, in a line for people; said when it is another one."""
        line = " ".join(line.split())[:_LONGEST_STATUS]
        if line != self._status and self._say(f"STATUS={line}", patience=0.0):
            self._status = line

    def beat(self) -> None:
        """All goes on: the watchdog waits again."""
        self._say("WATCHDOG=1")

    def _say(self, *assignments: str, patience: float = _PATIENCE_SECONDS) -> bool:
        """Give whether it was taken. What is said again soon needs no patience."""
        if self._address is None:
            return False
        # Rare enough to need no descriptor that a child would have to close.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(patience)
            sending.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)
            return True
        return False


def _address(written: str) -> str | None:
    """A path, or a name of the abstract kind, which is written with an @."""
    if written.startswith("/"):
        return written
    return "\0" + written[1:] if written.startswith("@") and len(written) > 1 else None


def _half(written: str) -> float | None:
    """Half of the time in microseconds after which the watchdog acts, in seconds."""
    if not (written.isascii() and written.isdigit() and len(written) < 20 and int(written)):
        return None
    return int(written) / 2e6


def from_environment() -> Notify:
    """What this process was asked to tell."""
    return Notify(os.environ, os.getpid())
