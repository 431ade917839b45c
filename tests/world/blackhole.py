"""A black hole: an address and a port where a connect gets no answer at all, as behind a firewall that drops.

A listener whose queue is full; Linux drops the first packet of everybody else.
"""

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self

# More than a backlog of nothing holds; those that are not taken wait for an answer for as long as we do.
_CONNECTS = 4
_STEP_SECONDS = 0.3


class BlackHole:
    """Silent as long as its context lasts; AssertionError when the system answers nevertheless."""

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._open = ExitStack()

    def __enter__(self) -> Self:
        listener = self._open.enter_context(socket.socket(self._family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._place)
        listener.listen(0)
        for _ in range(_CONNECTS):
            client = self._open.enter_context(socket.socket(self._family))
            client.setblocking(False)
            client.connect_ex(self._place)
        with socket.socket(self._family) as probe:
            probe.settimeout(_STEP_SECONDS)
            try:
                probe.connect(self._place)
            except TimeoutError:
                return self
        self._open.close()
        raise AssertionError(f"{self._place} answers")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
