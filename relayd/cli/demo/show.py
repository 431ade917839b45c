"""The show: the steps of the demonstration and how they are printed."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relayd.cli.demo.exchanger import Exchanger
from relayd.cli.demo.names import NameServer

# Near and far differ only in the time to their greeting; DNS says they are equal.
_NEAR, _FAR, _FAR_SECONDS = "near.example.test", "far.example.test", 0.12
_SECONDS = 20.0
_MESSAGES_TO_RANK = 4

README_MAIL = """\
HELO client.example.org
MAIL FROM:<alice@example.org>
RCPT TO:<bob@example.test>
DATA
From: Alice <alice@example.org>
To: Bob <bob@example.test>
Subject: The first mail

Hello Bob,
this line was typed by hand.
.
QUIT
"""


class Failed(Exception):
    """The demonstration could not go on."""


@dataclass(frozen=True)
class Stage:
    """Where it happens."""

    folder: Path
    spool: Path
    with_colours: bool

    def step(self, number: int, title: str) -> None:
        """A heading."""
        print(f"\n{self._coloured(f'{number}. {title}', '1')}\n")

    def say(self, text: str, colour: str = "") -> None:
        """Indented lines."""
        for line in text.split("\n"):
            print(f"   {self._coloured(line, colour) if colour else line}".rstrip())

    def _coloured(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.with_colours else text


async def show(stage: Stage) -> None:
    """All of it, in order."""
    async with AsyncExitStack() as stack:
        near = await Exchanger(_NEAR, 0.0).start("127.0.0.2", 0)
        far = await Exchanger(_FAR, _FAR_SECONDS).start("127.0.0.3", near.port)
        stack.callback(near.close)
        stack.callback(far.close)
        transport, dns_port = await NameServer.start(_records(), "127.0.0.1")
        stack.callback(transport.close)

        stage.step(1, "A world on loopback")
        stage.say(
            f"DNS at 127.0.0.1:{dns_port}; it says:\n"
            f"    example.test.  MX  10 {_NEAR}.  (127.0.0.2, greets at once)\n"
            f"    example.test.  MX  10 {_FAR}.   (127.0.0.3, greets after {_FAR_SECONDS * 1000:.0f} ms)"
        )

        stage.step(2, "The relay starts")
        relay = await stack.enter_async_context(_relay(stage, dns_port, near.port))
        stage.say(await relay.command("status"))

        stage.step(3, "A mail comes in")
        for each in (near, far):
            each.gate.clear()
        await _converse(stage, relay.port)

        stage.step(4, "It lies in the spool while it is being delivered")
        await _first_of(near, far)
        path, content = _spooled(stage.spool)
        stage.say(f"$ cat {path.relative_to(stage.folder)}", "2")
        stage.say(content)

        stage.step(5, "It arrives")
        for each in (near, far):
            each.gate.set()
        delivered = await relay.log_lines("delivery.delivered", 1)
        first = near if near.arrived else far
        stage.say(f"{delivered[0]['exchanger']} has it, byte for byte as the spool had it:\n")
        stage.say(first.arrived[0].decode("ascii", "replace").replace("\r\n", "\n"), "36")

        stage.step(6, f"{_MESSAGES_TO_RANK} more, and the relay knows both exchangers")
        for count in range(2, _MESSAGES_TO_RANK + 2):
            await _converse(None, relay.port)
            line = (await relay.log_lines("delivery.delivered", count))[-1]
            stage.say(f"to {line['exchanger']:<18} since {line['chosen']}")
        stage.say(
            "\nEach figure is the time from connect() to the greeting. DNS said that both are equal;\n"
            "the relay measured which one is nearer, and keeps to it."
        )

        stage.step(7, "Nothing is left behind")
        stage.say(await relay.command("queue", "list"))
    stage.say("The relay has stopped. README.md says how to run it for good.")


class _Relay:
    """The real relay with a configuration of its own."""

    def __init__(self, stage: Stage, config: Path) -> None:
        self._config = config
        self._log = stage.spool / "relayd.log"
        self.port = 0

    async def command(self, *words: str) -> str:
        """What a command prints; Failed with what it says when it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "relayd",
            *words,
            "-c",
            str(self._config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        text = said.decode(errors="replace").rstrip()
        if process.returncode != 0:
            raise Failed(f"relayd {' '.join(words)}: {text}")
        return text

    async def log_lines(self, event: str, count: int) -> list[dict[str, str]]:
        """The first `count` log records of an event, once they are there."""
        for _ in range(round(_SECONDS / 0.02)):
            records = [json.loads(line) for line in self._log.read_text().splitlines()]
            found = [record for record in records if record["event"] == event]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)
        raise Failed(f"no {event} within {_SECONDS:.0f} s; the log:\n{self._log.read_text()}")


@asynccontextmanager
async def _relay(stage: Stage, dns_port: int, exchanger_port: int) -> AsyncIterator[_Relay]:
    config = stage.folder / "relayd.toml"
    config.write_text(
        f"""\
hostname = "relay.example.org"
[[listener]]
address = "127.0.0.1"
port = 0
[process]
workers = 2
[spool]
directory = "{stage.spool}"
minimum_free = 0
[delivery]
port = {exchanger_port}
private_exchangers = true
connections_per_destination = 1
[dns]
nameservers = ["127.0.0.1:{dns_port}"]
[log]
format = "json"
"""
    )
    relay = _Relay(stage, config)
    stage.say(f"$ relayd start -c {config.name}", "2")
    stage.say((await relay.command("start")).partition("\n")[0])
    try:
        relay.port = int(json.loads(await relay.command("status", "--json"))["listening"][0].rpartition(":")[2])
        yield relay
    finally:
        with contextlib.suppress(Failed):
            await relay.command("stop")


async def _converse(stage: Stage | None, port: int) -> None:
    """The session that README shows, as telnet would have it; printed where there is a stage."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await _hear(stage, reader)
        is_data = False
        for line in _lines():
            if stage is not None:
                stage.say(line, "32")
            writer.write(line.encode() + b"\r\n")
            if line == "." or not is_data:
                await _hear(stage, reader)
            is_data = line == "DATA" or (is_data and line != ".")
    finally:
        writer.close()


async def _hear(stage: Stage | None, reader: asyncio.StreamReader) -> None:
    reply = (await asyncio.wait_for(reader.readline(), _SECONDS)).decode().rstrip()
    if stage is not None:
        stage.say(reply)
    if not reply.startswith(("2", "3")):
        raise Failed(f"the relay said: {reply}")


def _lines() -> Iterator[str]:
    yield from README_MAIL.splitlines()


async def _first_of(*exchangers: Exchanger) -> None:
    waiting = [asyncio.ensure_future(each.is_here.wait()) for each in exchangers]
    done, pending = await asyncio.wait(waiting, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for each in pending:
        each.cancel()
    if not done:
        raise Failed(f"no exchanger got the mail within {_SECONDS:.0f} s")


def _spooled(spool: Path) -> tuple[Path, str]:
    for folder in ("new", "cur"):
        for name in sorted(os.listdir(spool / folder)):
            path = spool / folder / name
            return path, path.read_bytes().decode("ascii", "replace").replace("\r\n", "\n")
    raise Failed("no message in the spool")


def _records() -> dict[tuple[str, str], list[str]]:
    return {
        ("example.test.", "MX"): [f"10 {_NEAR}.", f"10 {_FAR}."],
        (f"{_NEAR}.", "A"): ["127.0.0.2"],
        (f"{_FAR}.", "A"): ["127.0.0.3"],
    }
