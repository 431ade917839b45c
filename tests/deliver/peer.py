"""A peer: a server in the test's own event loop that sends any octets at all, for what no exchanger would do.

Its script gets the streams and ends the connection by returning. It fails with what the script raises, when the
context ends.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from relayd.deliver.exchangers import Candidate

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(script: Script, address: str = "127.0.0.1") -> AsyncIterator[Candidate]:
    """The server, as a candidate to connect to."""
    failures: list[Exception] = []
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # The client has gone, or the context ends.
        except Exception as error:
            failures.append(error)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, address, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Candidate(10, "peer.test", ip_address(address), port)
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running)
    if failures:
        raise failures[0]


def saying(*replies: bytes) -> Script:
    """A script that says the first of these at once, each next one after a line has come, and then waits."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(reply)
            await writer.drain()
            if not await reader.readline():
                return
        await reader.read()

    return script
