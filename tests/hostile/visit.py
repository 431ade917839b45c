"""A visit: one client's whole session in a house of the receiving floor, and what it left behind everywhere.

Worker, policy, spool and log are the real ones; only sockets are missing. It raises TimeoutError when a verdict
does not come.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from pathlib import Path

from relayd.smtp.address import parse_mailbox
from relayd.spool.envelope import Envelope, head_end, unpack
from tests.hostile.machine import lines
from tests.receive.house import House as House
from tests.receive.house import Transport

LOCAL = "127.0.0.1"
STRANGER = "198.51.100.7"

_WAIT = 10.0
_ID = re.compile(r"[0-9a-z]{17}")
_MESSAGE = re.compile(r"[0-9a-z]{17},S=[0-9]+")
# What is sent to a terminal or a collector of logs: no control characters, no line separators, no directions.
_FOLDED = re.compile(rb"\r\n[\t ]+")
_HEADER_LINE = re.compile(rb"(?:Received|Date|Message-ID): [\x20-\x7e\x80-\xff]+")


async def visit(house: House, *writes: bytes, peer: str = LOCAL) -> list[bytes]:
    """Connect, send these one after the other, and leave; give the replies' lines."""
    transport = Transport((peer, 40_000))
    connection = house.connection(transport)
    for write in writes:
        if transport.is_closing():
            break
        connection.data_received(write)
        async with asyncio.timeout(_WAIT):
            while connection.is_busy:
                await asyncio.sleep(0)
    replies = transport.written
    if not transport.is_closing():
        connection.eof_received()
    connection.connection_lost(None)
    return lines(replies)


class Traces:
    """Where a client's words could have come to: messages, file names, log lines, all below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def files(self) -> list[Path]:
        """The messages that are due."""
        return sorted((self._folder / "spool" / "new").iterdir())

    def envelopes(self) -> list[Envelope]:
        """Their envelopes, in the order of arrival."""
        return [unpack(head) for head, _ in map(_split, self.files)]

    def mail(self) -> list[bytes]:
        """Their mail data, header fields of ours and all."""
        return [mail_data for _, mail_data in map(_split, self.files)]

    def log(self) -> list[dict[str, object]]:
        """The log's records; AssertionError for a line that is none."""
        return [_record(line) for line in (self._folder / "log").read_bytes().split(b"\n")[:-1]]

    def assert_are_clean(self) -> None:
        """Every file has a name that we gave, every line of the log is one record, no header field is injected."""
        for path in self._folder.rglob("*"):
            name = path.relative_to(self._folder)
            if name.parts[0] == "spool" and len(name.parts) == 3 and name.parts[1] in ("new", "tmp"):
                assert _MESSAGE.fullmatch(path.name) or _ID.fullmatch(path.name), name
            else:
                assert re.fullmatch(r"[a-z0-9._/-]+", str(name)), name
        records = self.log()
        assert not [record for record in records if record["event"] == "bug"]
        for envelope in self.envelopes():
            for path_text in (envelope.reverse_path, *(each.address for each in envelope.recipients)):
                assert path_text is None or str(parse_mailbox(path_text, international=True)) == path_text


def play(folder: Path, scene: Callable[[House], Coroutine[None, None, None]], settings: str = "") -> Traces:
    """Play a scene in a house; what it left is clean."""

    async def main() -> None:
        house = House(folder, settings=settings)
        await scene(house)
        house.end()

    asyncio.run(main())
    traces = Traces(folder)
    traces.assert_are_clean()
    return traces


def ours(mail_data: bytes, body: bytes) -> list[bytes]:
    """The header fields before the client's own data, unfolded; AssertionError for what we never write."""
    assert mail_data.endswith(body), mail_data
    head = mail_data[: len(mail_data) - len(body)]
    assert head.endswith(b"\r\n")
    fields = _FOLDED.sub(b" ", head[:-2]).split(b"\r\n")
    for field in fields:
        assert _HEADER_LINE.fullmatch(field), field
    return fields


def _split(path: Path) -> tuple[bytes, bytes]:
    octets = path.read_bytes()
    end = head_end(octets)
    return octets[:end], octets[end:]


def _record(line: bytes) -> dict[str, object]:
    assert line.decode().isprintable(), line
    record: dict[str, object] = json.loads(line)
    assert {"time", "pid", "event"} <= record.keys()
    return record
