"""A mail exchanger for the demonstration: it greets after a while, takes all mail, and keeps it in memory."""

import asyncio
from typing import Self

from relayd import __version__
from relayd.smtp.server import Content, EndOfData, Facts, Session, State


class Exchanger:
    """One receiving server; `arrived` holds the mail data of each message, in order.

    `gate` holds back the reply to the final dot, so that a message can be looked at on its way.
    """

    def __init__(self, name: str, greets_after: float) -> None:
        self.name = name
        self.greets_after = greets_after
        self.arrived: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_here = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, address, port)
        return self

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.greets_after)
        session = Session(Facts(self.name, __version__, writer.get_extra_info("peername")[1]))
        mail = bytearray()
        try:
            while session.state is not State.CLOSED:
                while (event := session.next_event()) is not None:
                    if isinstance(event, Content):
                        mail += event.octets
                        continue
                    if isinstance(event, EndOfData):
                        self.arrived.append(bytes(mail))
                        mail.clear()
                        self.is_here.set()
                        await self.gate.wait()
                    session.answer()
                writer.write(session.output())
                await writer.drain()
                octets = await reader.read(65_536)
                if not octets:
                    break
                session.feed(octets)
        except ConnectionError:
            pass
        finally:
            writer.write(session.output())
            writer.close()
