"""HTTP: as little of it as monitoring needs: one GET or HEAD a connection, then the end (RFC 9112).

Refuses to know what a page says. A client that is slow, silent or hostile costs one of a bounded number of places
for a bounded time; where there is none left, who has had one for longest is cut off.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import cast

from relayd.observe.pages import NOT_FOUND, Page

# Monitoring sends a few hundred octets.
_LARGEST = 8192
_PATIENCE_SECONDS = 10.0
_AT_ONCE = 32

_END = re.compile(rb"\r?\n\r?\n")
# An empty line before it is passed over (section 2.2).
_REQUEST = re.compile(rb"(?:\r?\n)?([!-~]+) (?:http://[^/ ]*)?(/[!-~]*) HTTP/1\.[0-9]\r?\n")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_BAD_REQUEST = Page(400, b"not a request of HTTP/1.1\n")
_TOO_LARGE = Page(431, b"the request is too large\n")
_WRONG_METHOD = Page(405, b"there is GET and HEAD\n")
_BROKEN = Page(500, b"a defect of relayd; the log has it\n")


class Visitors:
    """All connections; `pages` are made when they are asked for, and `bug` is told of what nobody expected."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pages: Mapping[str, Callable[[], Page]],
        bug: Callable[[str, BaseException], None],
        *,
        patience: float = _PATIENCE_SECONDS,
        at_once: int = _AT_ONCE,
    ) -> None:
        self.loop = loop
        self.patience = patience
        self._pages = pages
        self._bug = bug
        self._at_once = at_once
        # In the order in which they came.
        self._here: dict[Visitor, None] = {}

    def visitor(self) -> "Visitor":
        """What serves the next connection."""
        return Visitor(self)

    def came(self, visitor: "Visitor") -> None:
        """A connection is there."""
        self._here[visitor] = None
        if len(self._here) > self._at_once:
            next(iter(self._here)).cut()

    def left(self, visitor: "Visitor") -> None:
        """It is gone."""
        self._here.pop(visitor, None)

    def end(self) -> None:
        """Cut all off."""
        for visitor in list(self._here):
            visitor.cut()

    def page(self, path: str) -> Page:
        """What is at a path."""
        make = self._pages.get(path)
        if make is None:
            return NOT_FOUND
        try:
            return make()
        except Exception as error:
            self._bug(path, error)
            return _BROKEN


class Visitor(asyncio.Protocol):
    """One connection."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._transport: asyncio.Transport | None = None
        self._said = b""
        self._is_answered = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has so much time for everything."""
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = self._visitors.loop.call_later(self._visitors.patience, self.cut)
        self._visitors.came(self)

    def data_received(self, data: bytes) -> None:
        """A part of the request, or the whole; what comes after it is thrown away."""
        if self._is_answered:
            return
        self._said += data
        if _END.search(self._said, 0, _LARGEST):
            self._answer()
        elif len(self._said) >= _LARGEST:
            self._say(_TOO_LARGE)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._visitors.left(self)

    def cut(self) -> None:
        """The end, at once."""
        self._visitors.left(self)
        if self._transport is not None:
            self._transport.abort()

    def _answer(self) -> None:
        request = _REQUEST.match(self._said)
        if request is None:
            self._say(_BAD_REQUEST)
        elif request[1] not in (b"GET", b"HEAD"):
            self._say(_WRONG_METHOD)
        else:
            path = request[2].partition(b"?")[0].decode("ascii")
            self._say(self._visitors.page(path), with_body=request[1] == b"GET")

    def _say(self, page: Page, *, with_body: bool = True) -> None:
        assert self._transport is not None
        head = [
            f"HTTP/1.1 {page.status} {_REASONS[page.status]}",
            f"Content-Type: {page.kind}",
            f"Content-Length: {len(page.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            *(["Allow: GET, HEAD"] if page.status == 405 else []),
            "Connection: close",
            "",
            "",
        ]
        self._is_answered = True
        self._transport.write("\r\n".join(head).encode() + (page.body if with_body else b""))
        # The client ends it: a close with something unread makes the system reset the connection, and the answer
        # may be lost with it (section 9.6).
        self._transport.write_eof()
