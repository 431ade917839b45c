"""An acceptor: takes the connections that come to one listening socket, one in each turn of the event loop.

Workers share the socket, and an event loop's own server takes all that wait there, however much it has to do.
Whoever takes them one by one leaves more to the others, the more it has to do. Refuses to know what is said on a
connection, and which worker should go before another. Where the system has no descriptor left it says so and rests
for a second.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

_REST_SECONDS = 1.0
# Another worker was quicker, or the client or the way to it has gone again: what accept(2) tells of a connection.
_OF_ANOTHER = frozenset(
    {
        errno.EAGAIN,
        errno.EINTR,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPROTO,
        errno.ETIMEDOUT,
    }
)


class Acceptor:
    """One listener's: `made` gives what serves a connection.

    `failed` hears why none could be had, and `settled` that the last one that was accepted is a session. `wait`
    says how many seconds a connection is left to other workers, at an instant of the loop's clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        made: Callable[[], asyncio.Protocol],
        failed: Callable[[OSError], None],
        settled: Callable[[], None],
        wait: Callable[[float], float],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._made = made
        self._failed = failed
        self._settled = settled
        self._wait = wait
        self._is_open = False
        self._begun: set[asyncio.Task[None]] = set()

    @property
    def is_settled(self) -> bool:
        """Whether no connection is between its being accepted and its session, and none will be."""
        return not self._is_open and not self._begun

    def open(self) -> None:
        """Accept from here on."""
        self._listener.setblocking(False)
        self._is_open = True
        self._listen()

    def close(self) -> None:
        """Accept no more, and give the socket up. What was accepted becomes a session all the same."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener)
            self._listener.close()

    def _listen(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener, self._see)

    def _see(self) -> None:
        """One waits: it is another worker's, where it is left and does not wait still in a moment."""
        if seconds := self._wait(self._loop.time()):
            self._loop.remove_reader(self._listener)
            self._loop.call_later(seconds, self._take_left)
        else:
            self._accept()

    def _take_left(self) -> None:
        if self._is_open:
            self._listen()
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno not in _OF_ANOTHER:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_REST_SECONDS, self._listen)
                self._failed(error)
            return
        task = self._loop.create_task(self._hand_over(connection))
        self._begun.add(task)
        task.add_done_callback(self._done)

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, connection)
        except OSError:
            # It has gone before it was a session.
            connection.close()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._begun.discard(task)
        if self.is_settled:
            self._settled()
        # What is no error of the system is a defect, and the event loop's to tell.
        task.result()
