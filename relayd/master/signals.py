"""Signals: they only wake the master's loop up, which then asks which they were."""

import signal
import socket

from relayd.master.children import HANDLED


class Signals:
    """The master's; from `listen` on they end nothing any more."""

    def __init__(self) -> None:
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._wake.fileno()

    def listen(self) -> None:
        """From here on."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, lambda number, frame: None)
        # Children answer it with their stacks; whoever sends it to the master must not end the relay by it.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def heard(self) -> list[int]:
        """Those that came since."""
        try:
            return list(self._wake.recv(4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Give both ends up; a child does only this."""
        self._wake.close()
        self._waker.close()
