"""An acceptor: takes the connections that come to one listening socket, one in each turn of the event loop.

Workers share the socket, and an event loop's own server takes all that wait there: of twenty clients that came at
once one worker got them all, and the others idled. So whoever has much to do leaves more to the others. Refuses to
know what is said on a connection. Where the system has no descriptor left it says so and rests for a second.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

from relayd.receive.standby import Standby

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

    `failed` hears why none could be had, and `settled` that the last one that was accepted is a session. What
    `standby` says is left to other workers first.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        made: Callable[[], asyncio.Protocol],
        failed: Callable[[OSError], None],
        settled: Callable[[], None],
        standby: Standby | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._made = made
        self._failed = failed
        self._settled = settled
        self._standby = standby
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
            self._loop.add_reader(self._listener, self._accept if self._standby is None else self._leave)

    def _leave(self) -> None:
        """One waits: it is another worker's, unless it still waits in a moment."""
        assert self._standby is not None
        if seconds := self._standby.wait(self._loop.time()):
            self._loop.remove_reader(self._listener)
            self._loop.call_later(seconds, self._take)
        else:
            self._accept()

    def _take(self) -> None:
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
