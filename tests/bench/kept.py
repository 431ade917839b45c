"""The kept benchmark: messages a second to a server 20 ms away, by what a connection is used for.

The same messages go with one connection for each, and over connections that are kept, without PIPELINING and with
it; over one connection at a time, and over ten. The delay is the server's: what a client waits for in a round trip
comes after 20 ms, the greeting after two of these, since connect() takes no time on loopback.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from tests.bench.backlog import fill_fresh
from tests.world.names import NameServer
from tests.world.relay import relay

ROUND_TRIP_SECONDS = 0.02
CONNECTIONS = (1, 10)
# For each connection at a time.
MESSAGES = 60
# How much better it has to be than a connection for each message.
LEAST_TIMES = 2.0
_PATIENCE_SECONDS = 120.0
_ZONE = "example.test. 60 IN MX 10 mx.example.test.\nmx.example.test. 60 IN A 127.0.0.2"
_ONE_EACH = '\n[delivery.limits."mx.example.test"]\nmessages = 1'


class Distant:
    """A server that is a round trip away; it takes all mail and counts it."""

    def __init__(self, extensions: bytes) -> None:
        self.ehlo = b"250-distant.test\r\n" + extensions + b"250 8BITMIME\r\n"
        self.messages = 0
        self.connections = 0
        self.began = self.ended = 0.0
        self.goal = 0
        self.is_done = threading.Event()

    def came(self) -> None:
        """A client connected."""
        self.connections += 1
        self.began = self.began or time.monotonic()

    def took(self) -> None:
        """A message was taken."""
        self.messages += 1
        if self.messages == self.goal:
            self.ended = time.monotonic()
            self.is_done.set()


class _Session(asyncio.Protocol):
    """One connection: lines in, replies out after a round trip."""

    def __init__(self, server: Distant) -> None:
        self._server = server
        self._octets = b""
        self._is_in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.came()
        self._say(b"220 distant.test ESMTP\r\n", 2 * ROUND_TRIP_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._octets += data
        replies = b""
        while True:
            line, found, rest = self._octets.partition(b"\r\n.\r\n" if self._is_in_data else b"\r\n")
            if not found:
                break
            self._octets = rest
            replies += self._reply(line)
        if replies:
            self._say(replies, ROUND_TRIP_SECONDS)

    def _reply(self, line: bytes) -> bytes:
        if self._is_in_data:
            self._is_in_data = False
            self._server.took()
            return b"250 2.0.0 Ok\r\n"
        verb = line[:4].upper()
        if verb == b"EHLO":
            return self._server.ehlo
        self._is_in_data = verb == b"DATA"
        return {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 2.1.0 Ok\r\n")

    def _say(self, replies: bytes, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._write, replies)

    def _write(self, replies: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(replies)
            if replies.endswith(b"221 bye\r\n"):
                self._transport.close()


@dataclass(frozen=True)
class Way:
    """How the mail goes."""

    title: str
    is_kept: bool
    pipelines: bool


WAYS = (
    Way("one connection a message", is_kept=False, pipelines=False),
    Way("one connection a message, PIPELINING", is_kept=False, pipelines=True),
    Way("kept connections", is_kept=True, pipelines=False),
    Way("kept connections, PIPELINING", is_kept=True, pipelines=True),
)


def main() -> int:
    """Measure and print; 1 when mail is missing or a bound does not hold."""
    print(f"{'to a server 20 ms away':<40} {'at once':>8} {'messages':>9} {'opened':>7} {'a second':>9}")
    held = True
    for connections in CONNECTIONS:
        rates: dict[Way, float] = {}
        for way in WAYS:
            try:
                server = _carried(way, connections)
            except TimeoutError as error:
                print(f"{way.title} FAILED: {error}", file=sys.stderr)
                return 1
            rates[way] = server.messages / (server.ended - server.began)
            print(
                f"{way.title:<40} {connections:>8} {server.messages:>9} {server.connections:>7} {rates[way]:>9.1f}"
            )
        times = rates[WAYS[-1]] / rates[WAYS[0]]
        held = held and times >= LEAST_TIMES
        print(f"kept and pipelined, {connections} at once: {times:.1f} times as many (at least {LEAST_TIMES:.1f})")
    return 0 if held else 1


def _carried(way: Way, connections: int) -> Distant:
    """Have a backlog carried; TimeoutError when it is not."""
    with distant(way.pipelines) as (server, port), NameServer(_ZONE) as names:
        settings = f"port = {port}\nprivate_exchangers = true\nconnections_per_destination = {connections}"
        with relay(
            delivery=settings + ("" if way.is_kept else _ONE_EACH),
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
        ) as made:
            made.start()
            made.stop()
            server.goal = MESSAGES * connections
            fill_fresh(made.spool / "new", server.goal, "example.test")
            made.start()
            if not server.is_done.wait(_PATIENCE_SECONDS):
                raise TimeoutError(f"{server.messages} of {server.goal} messages after {_PATIENCE_SECONDS:.0f} s")
            made.wait_until_empty()
            made.stop()
            return server


@contextmanager
def distant(pipelines: bool) -> Iterator[tuple[Distant, int]]:
    """The server, in a thread of its own, and its port."""
    server = Distant(b"250-PIPELINING\r\n" if pipelines else b"")
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(loop.create_server(lambda: _Session(server), "127.0.0.2", 0, backlog=100))
    thread = threading.Thread(target=loop.run_forever, name="distant", daemon=True)
    thread.start()
    try:
        yield server, listening.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listening.close()
        loop.close()


if __name__ == "__main__":
    sys.exit(main())
