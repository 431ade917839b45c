"""HTTP: what clients hear, the good ones and the others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.observe.http import Visitors
from relayd.observe.pages import Page

PAGES: dict[str, Callable[[], Page]] = {
    "/metrics": lambda: Page(200, b"a 1\n"),
    "/healthz": lambda: Page(503, b"no\n"),
}
SECONDS = 10.0


class Server:
    """Visitors behind a socket."""

    def __init__(self, visitors: Visitors, port: int, bugs: list[str]) -> None:
        self.visitors = visitors
        self.port = port
        self.bugs = bugs

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def hears(self, said: bytes) -> bytes:
        """All that is answered to these octets, until the end."""
        reader, writer = await self.connect()
        writer.write(said)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


def serving(
    work: Callable[[Server], Awaitable[None]],
    pages: Mapping[str, Callable[[], Page]] = PAGES,
    *,
    patience: float = SECONDS,
    at_once: int = 32,
) -> None:
    """Do the work beside a server."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        bugs: list[str] = []
        visitors = Visitors(loop, pages, lambda where, _: bugs.append(where), patience=patience, at_once=at_once)
        server = await loop.create_server(visitors.visitor, "127.0.0.1", 0)
        async with asyncio.timeout(SECONDS):
            await work(Server(visitors, server.sockets[0].getsockname()[1], bugs))
        server.close()
        visitors.end()

    asyncio.run(main())


def test_a_get_is_answered_and_the_connection_ends() -> None:
    """With the length, the type and the body; a query makes no difference."""

    async def work(server: Server) -> None:
        for path in (b"/metrics", b"/metrics?x=/healthz", b"http://relay.example.org:9125/metrics"):
            head, _, body = (await server.hears(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")).partition(
                b"\r\n\r\n"
            )
            lines = head.split(b"\r\n")
            assert lines[0] == b"HTTP/1.1 200 OK"
            assert b"Content-Length: 4" in lines
            assert b"Content-Type: text/plain; charset=utf-8" in lines
            assert b"Connection: close" in lines
            assert body == b"a 1\n"

    serving(work)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"503 Service Unavailable"),
        (b"GET /healthz HTTP/1.1\n\n", b"503 Service Unavailable"),
        (b"\r\nGET /healthz HTTP/1.1\r\n\r\n", b"503 Service Unavailable"),
        (b"\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405 Method Not Allowed"),
        (b"get /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"EHLO client.example\r\n\r\n", b"400 Bad Request"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET /metrics\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 8200, b"431 Request Header Fields Too Large"),
    ],
)
def test_what_else_is_asked_is_refused_in_words(said: bytes, status: bytes) -> None:
    """A method, a path or a form that is not there."""

    async def work(server: Server) -> None:
        assert (await server.hears(said)).startswith(b"HTTP/1.1 " + status + b"\r\n")

    serving(work)


@pytest.mark.parametrize("method", [b"GET", b"POST", b"X" * 9000])
def test_an_answer_arrives_whatever_comes_behind_the_request(method: bytes) -> None:
    """A connection with something unread would be reset when it is closed, and the answer lost (section 9.6)."""

    async def work(server: Server) -> None:
        said = await server.hears(method + b" /metrics HTTP/1.1\r\n\r\n" + b"x" * 3_000_000)
        assert said.count(b"HTTP/1.1 ") == 1
        assert said.endswith(b"\n")
        assert (b"Allow: GET, HEAD\r\n" in said) is (method == b"POST")

    serving(work)


def test_a_client_that_is_answered_and_stays_is_cut_off() -> None:
    """It has had what it came for."""

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert (await reader.read()).endswith(b"a 1\n")
        while server.visitors._here:
            await asyncio.sleep(0.005)
        writer.close()

    serving(work, patience=0.05)


def test_a_head_gets_the_length_and_no_body() -> None:
    """As the GET would be answered (RFC 9110 section 9.3.2)."""

    async def work(server: Server) -> None:
        said = await server.hears(b"HEAD /metrics HTTP/1.1\r\n\r\n")
        assert b"Content-Length: 4\r\n" in said
        assert said.endswith(b"\r\n\r\n")

    serving(work)


def test_a_request_may_come_octet_by_octet() -> None:
    """However the network cuts it."""

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        for octet in b"GET /metrics HTTP/1.1\r\n\r\n":
            writer.write(bytes([octet]))
            await writer.drain()
        assert (await reader.read()).endswith(b"a 1\n")
        writer.close()

    serving(work)


def test_who_says_nothing_is_cut_off() -> None:
    """A place is for a bounded time."""

    async def work(server: Server) -> None:
        assert await server.hears(b"GET /met") == b""

    serving(work, patience=0.05)


def test_who_does_not_read_is_cut_off() -> None:
    """An answer that is not taken is given up."""

    async def work(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /large HTTP/1.1\r\n\r\n")
        for is_here in (True, False):
            while bool(server.visitors._here) is not is_here:
                await asyncio.sleep(0.005)
        assert 0 < len(await reader.read()) < 50_000_000
        writer.close()

    serving(work, {"/large": lambda: Page(200, b"x" * 50_000_000)}, patience=0.05)


def test_silent_clients_take_no_place_from_others() -> None:
    """Where all places are taken, the oldest goes."""

    async def work(server: Server) -> None:
        silent = [await server.connect() for _ in range(6)]
        assert (await server.hears(b"GET /metrics HTTP/1.1\r\n\r\n")).endswith(b"a 1\n")
        assert len(server.visitors._here) <= 3
        reader, _ = silent[0]
        assert await reader.read() == b""
        for _, writer in silent:
            writer.close()

    serving(work, at_once=3)


def test_a_page_that_cannot_be_made_is_a_bug_and_one_answer() -> None:
    """The next one is answered as ever."""

    def broken() -> Page:
        raise ZeroDivisionError

    async def work(server: Server) -> None:
        assert (await server.hears(b"GET /broken HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
        assert server.bugs == ["/broken"]
        assert (await server.hears(b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    serving(work, {**PAGES, "/broken": broken})


class Wire(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_ended = False

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written += data

    def write_eof(self) -> None:
        self.is_ended = True


@settings(max_examples=200)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"GET ", b"/", b"\r\n", b" HTTP/1.1\r\n\r\n"])))
)
def test_whatever_is_said_there_is_one_answer_at_most(portions: list[bytes]) -> None:
    """And nothing raises."""
    loop = asyncio.new_event_loop()
    visitors = Visitors(loop, PAGES, lambda where, error: pytest.fail(f"{where}: {error}"))
    visitor, wire = visitors.visitor(), Wire()
    visitor.connection_made(wire)
    for portion in portions:
        visitor.data_received(portion)
    assert wire.written.count(b"HTTP/1.1 ") <= 1
    assert bool(wire.written) == wire.is_ended
    visitor.connection_lost(None)
    assert not visitors._here
    loop.close()
