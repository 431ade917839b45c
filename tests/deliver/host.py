"""A host: an exchanger in the test's own event loop that notes what came along with each message's end.

What it says is the test's to script, step by step; a script that raises ConnectionAbortedError hangs up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

Says = Callable[[str, int], Awaitable[bytes | None]]

_USUAL = {"MAIL": b"250 2.1.0 Ok\r\n", "RCPT": b"250 2.1.5 Ok\r\n", "RSET": b"250 2.0.0 Ok\r\n"}


async def as_usual(verb: str, number: int) -> bytes | None:
    """Nothing but the usual replies."""
    return None


class Host:
    """For `peer`. `says` is given each verb, with "." for the final dot, and the number of the MAIL it belongs to.

    Messages are numbered from 1 over all connections; None means the usual reply, b"" none at all. `along` has for
    each final dot what was there behind it before anything was answered; `mails` the MAIL commands of each
    connection; `taken` the mail data that was answered with 2yz. Where it answers `at_once`, the replies to all
    that is there go in one write.
    """

    def __init__(
        self,
        says: Says = as_usual,
        extensions: tuple[bytes, ...] = (b"PIPELINING", b"8BITMIME"),
        *,
        at_once: bool = False,
    ) -> None:
        self.says = says
        self.extensions = extensions
        self._at_once = at_once
        self.along: list[bytes] = []
        self.mails: list[int] = []
        self.taken: list[bytes] = []
        self.lines: list[bytes] = []
        self._number = 0

    @property
    def ahead(self) -> list[int]:
        """Which final dots, from 1, had the next message's commands along: all of them or none."""
        assert all(each.startswith(b"MAIL ") and each.endswith(b"\r\nDATA\r\n") for each in self.along if each)
        return [number for number, each in enumerate(self.along, start=1) if each]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        # The client may go in its mail data.
        with contextlib.suppress(asyncio.IncompleteReadError):
            await self._converse(reader, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(self.mails)
        self.mails.append(0)
        number = 0
        is_open, recipients = False, 0
        replies = b"220 host.test\r\n"
        while True:
            if not self._at_once or not _buffered(reader):
                writer.write(replies)
                replies = b""
            if not (line := await reader.readline()):
                return
            self.lines.append(line)
            verb = line[:4].decode()
            if verb == "MAIL":
                self.mails[place] += 1
                self._number += 1
                number = self._number
            reply = await self.says(verb, number)
            if reply is None:
                reply = self._usual(verb, is_open, recipients)
            if verb == "MAIL":
                is_open, recipients = reply.startswith(b"2"), 0
            recipients += verb == "RCPT" and reply.startswith(b"2")
            replies += reply
            if verb == "DATA" and reply.startswith(b"3"):
                writer.write(replies)
                replies = reply = await self._receive(reader, number)
            if verb == "QUIT" or b"421 " in reply:
                writer.write(replies)
                return

    def _usual(self, verb: str, is_open: bool, recipients: int) -> bytes:
        match verb:
            case "EHLO":
                return (
                    b"".join(b"250-%s\r\n" % each for each in (b"host.test", *self.extensions)) + b"250 HELP\r\n"
                )
            case "RCPT" | "DATA" if not is_open:
                return b"503 5.5.1 MAIL first\r\n"
            case "DATA" if not recipients:
                return b"554 5.5.1 nobody\r\n"
            case "DATA":
                return b"354 go on\r\n"
            case _:
                return _USUAL.get(verb, b"221 bye\r\n")

    async def _receive(self, reader: asyncio.StreamReader, number: int) -> bytes:
        data = await reader.readuntil(b"\r\n.\r\n")
        self.along.append(_buffered(reader))
        reply = await self.says(".", number)
        if reply is None:
            reply = b"250 2.0.0 taken %d\r\n" % number
        if reply.startswith(b"2"):
            self.taken.append(data.removesuffix(b".\r\n"))
        return reply


def _buffered(reader: asyncio.StreamReader) -> bytes:
    return bytes(reader._buffer)  # type: ignore[attr-defined]
