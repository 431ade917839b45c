"""The kept benchmark's server: it answers as a server does, a round trip later."""

import asyncio

import pytest

from tests.bench.kept import Distant, distant


@pytest.mark.parametrize("pipelines", [True, False])
def test_the_distant_server_takes_mail_and_counts_it(pipelines: bool) -> None:
    """Commands together or one by one; it is done with the last message that is waited for."""

    async def talk(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.2", port)
        said = await reader.readline()
        writer.write(b"EHLO a.test\r\n")
        said += await reader.readuntil(b"250 8BITMIME\r\n")
        for _ in range(2):
            writer.write(b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n")
            said += await reader.readuntil(b"354 go on\r\n")
            writer.write(b"Subject: x\r\n\r\ntext\r\n.\r\n")
            said += await reader.readline()
        writer.write(b"QUIT\r\n")
        said += await reader.read()
        writer.close()
        return said

    with distant(pipelines) as (server, port):
        assert isinstance(server, Distant)
        server.goal = 2
        said = asyncio.run(talk(port))
        assert (b"PIPELINING" in said) is pipelines
        assert said.endswith(b"221 bye\r\n")
        assert server.is_done.is_set()
        assert (server.messages, server.connections) == (2, 1)
        assert server.ended > server.began
