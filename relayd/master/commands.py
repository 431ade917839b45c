"""Commands: the connections of the control socket, from the first word to the answer.

One that says nothing is dropped. What the delivery process is asked is answered when it answers, or is gone.
Refuses to know what a request leads to: it is carried out by whoever is told of it.
"""

import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from relayd.base.channel import Operate, Operated
from relayd.master.children import Child
from relayd.master.control import Answers, Control, OperatePlease, Request

_CONTROL_SECONDS = 10.0


class Commands:
    """All that are open; `obey` gets each request with its connection, and answers it now or later."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        control: Control,
        obey: Callable[[socket.socket, Request], None],
    ) -> None:
        self._selector = selector
        self._control = control
        self._obey = obey
        self._silent: dict[socket.socket, float] = {}
        # Those that wait for the delivery process, by ticket.
        self._orders: dict[int, socket.socket] = {}
        self._last_ticket = 0
        selector.register(control, selectors.EVENT_READ, self._accept)

    def adopt(
        self, silent: Sequence[socket.socket], orders: Mapping[int, socket.socket], last_ticket: int
    ) -> None:
        """Take up those of a master that was executed into this one."""
        self._orders.update(orders)
        self._last_ticket = last_ticket
        for connection in silent:
            self._listen_to(connection)

    def descriptors(self) -> tuple[list[int], dict[int, int], int]:
        """What `adopt` needs, in that order."""
        orders = {ticket: connection.fileno() for ticket, connection in self._orders.items()}
        return [connection.fileno() for connection in self._silent], orders, self._last_ticket

    def close(self) -> None:
        """Give everything up; a child does only this."""
        self._control.close()
        for connection in (*self._silent, *self._orders.values()):
            connection.close()

    def drop_silent(self, now: float) -> None:
        """One that has connected and says nothing would keep the master awake."""
        for connection in [each for each, until in self._silent.items() if until <= now]:
            self._selector.unregister(connection)
            del self._silent[connection]
            connection.close()

    def next_drop(self) -> float | None:
        """When that is due, on the monotonic clock."""
        return min(self._silent.values(), default=None)

    def pass_on(self, connection: socket.socket, order: OperatePlease, delivery: Child) -> None:
        """Put an order to the delivery process, which answers in its own time."""
        self._last_ticket += 1
        channel = delivery.channel if delivery.is_ready else None
        said = Operate(self._last_ticket, order.verb, order.ids, order.recipient, order.notify)
        if channel is None or not channel.send(said):
            self._control.answer(connection, Answers(failure="the delivery process does not listen; try again"))
            return
        self._orders[self._last_ticket] = connection

    def operated(self, said: Operated) -> None:
        """It has answered."""
        connection = self._orders.pop(said.ticket, None)
        if connection is not None:
            self._control.answer(connection, Answers(results=said.results))

    def drop_orders(self) -> None:
        """The delivery process is gone, and with it what it was told."""
        for connection in self._orders.values():
            self._control.answer(connection, Answers(failure="the delivery process ended; try again"))
        self._orders.clear()

    def _accept(self) -> None:
        connection = self._control.accept()
        if connection is not None:
            self._listen_to(connection)

    def _listen_to(self, connection: socket.socket) -> None:
        self._silent[connection] = time.monotonic() + _CONTROL_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(connection))

    def _hear(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._silent[connection]
        request = self._control.hear(connection)
        if request is not None:
            self._obey(connection, request)
