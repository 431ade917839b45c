"""A turn: the committers of several processes take one after the other, so that each finds more to commit.

The file system commits one thing after another anyway: two workers that come with half of the messages each have
it do so twice. It is a courtesy and no lock: who has waited for a while goes on without it, so that a process that
was killed or stopped in its turn holds the others up once, and no longer than that. Never fails.
"""

import os
import select
import time

_PATIENCE_SECONDS = 0.05


class Turn:
    """One for the workers of a spool, made before they are forked; each call is for the thread that commits."""

    def __init__(self, patience: float = _PATIENCE_SECONDS) -> None:
        # What can be read is the turn that nobody has. A reading takes all of a count, so that there is one turn
        # again when somebody gives back what others had given up to wait for.
        self._fd = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._patience = patience

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *raised: object) -> None:
        self.give()

    def take(self) -> bool:
        """Wait for it; whether it came."""
        until = time.monotonic() + self._patience
        while not self._has_taken():
            left = until - time.monotonic()
            if left <= 0:
                return False
            waiting = select.poll()
            waiting.register(self._fd, select.POLLIN)
            waiting.poll(max(1, left * 1000))
        return True

    def give(self) -> None:
        """Let the next one have it, whether this one had it or not."""
        os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """In a process that does not commit."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _has_taken(self) -> bool:
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return False
        return True
