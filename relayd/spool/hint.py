"""A hint: the names of messages that have just become visible, sent from a worker to the delivery process.

Haste and no more: a hint that finds the socket full is dropped, and the next reading of new/ finds the message.
"""

import socket
from collections.abc import Sequence

_LARGEST = 16_384
_NAMES_EACH = 128


class Hints:
    """A datagram socket pair; workers share the sending end."""

    def __init__(self) -> None:
        self._be(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))

    @classmethod
    def of(cls, receiving: int, sending: int) -> "Hints":
        """The pair behind two descriptors, which are its own from now on; raise OSError."""
        hints = cls.__new__(cls)
        hints._be(socket.socket(fileno=receiving), socket.socket(fileno=sending))
        return hints

    def _be(self, receiving: socket.socket, sending: socket.socket) -> None:
        self._receiving, self._sending = receiving, sending
        self._receiving.setblocking(False)
        self._sending.setblocking(False)

    def descriptors(self) -> tuple[int, int]:
        """Both ends, to hand the pair to another process."""
        return self._receiving.fileno(), self._sending.fileno()

    def close(self) -> None:
        """Give both ends up, in a process that neither tells nor hears."""
        self._receiving.close()
        self._sending.close()

    def fileno(self) -> int:
        """The receiving end, for an event loop."""
        return self._receiving.fileno()

    def send(self, names: Sequence[str]) -> None:
        """Tell of messages, without waiting."""
        for first in range(0, len(names), _NAMES_EACH):
            try:
                self._sending.send("\n".join(names[first : first + _NAMES_EACH]).encode())
            except OSError:
                return

    def receive(self) -> list[str]:
        """All names that wait."""
        names: list[str] = []
        while True:
            try:
                datagram = self._receiving.recv(_LARGEST)
            except OSError:
                return names
            names += datagram.decode("ascii", "replace").split("\n")
