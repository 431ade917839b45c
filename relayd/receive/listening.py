"""Listening: the sockets that one worker accepts from, from its first client to its last.

They stay open for others when this worker closes them. Refuses to know what a session is. A lack of descriptors is
told and passes; of any other error of a listener `died` is told, since no client would come in by it again.
"""

import asyncio
import errno
from collections.abc import Callable, Sequence

from relayd.base.bound import Bound
from relayd.base.sections import Listener
from relayd.receive.acceptor import Acceptor

# Connections that wait in the kernel; it cuts this down to net.core.somaxconn.
_WAITING = 4096
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM})


class Listening:
    """`protocol` makes what serves a connection; `settled` is called when nobody more will come.

    `wait` is the acceptors' word for how long a connection is left to other workers.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[Bound],
        protocol: Callable[[Listener], Callable[[], asyncio.Protocol]],
        settled: Callable[[], None],
        refused: Callable[[str], None],
        died: Callable[[OSError], None],
        wait: Callable[[float], float],
    ) -> None:
        self._listeners = listeners
        self._settled = settled
        self._refused = refused
        self._died = died
        self._acceptors = [
            Acceptor(loop, each.socket, protocol(each.listener), self._failed, self._look, wait)
            for each in listeners
        ]
        self.is_closing = False

    @property
    def is_settled(self) -> bool:
        """Whether none comes any more, and whatever was accepted is a session by now."""
        return self.is_closing and all(acceptor.is_settled for acceptor in self._acceptors)

    def open(self) -> None:
        """Accept connections; raises OSError."""
        for each in self._listeners:
            each.socket.listen(_WAITING)
        for acceptor in self._acceptors:
            acceptor.open()

    def close(self) -> None:
        """Accept no more; what was accepted already becomes a session, and is not cut off."""
        if not self.is_closing:
            self.is_closing = True
            for acceptor in self._acceptors:
                acceptor.close()
            self._look()

    def _look(self) -> None:
        if self.is_settled:
            self._settled()

    def _failed(self, error: OSError) -> None:
        if error.errno in _PASSING:
            self._refused(f"accept: {error.strerror}")
        else:
            self._died(error)
