"""A live worker: forked as the master forks it, on loopback with a spool of its own, and a plain socket as client.

What the worker says on its channel and in its log arrives here as it is written, so that a test waits for an
event and never for a time. Everything waits ten seconds at most, and then raises TimeoutError.
"""

import json
import os
import re
import resource
import select
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relayd.base.bound import Bound
from relayd.base.channel import Begin, Channel, Garbled, Ready, Retire, Said, Waiting
from relayd.base.config import Config, load
from relayd.base.counters import Board, Slot
from relayd.base.log import Log
from relayd.base.tally import Tally
from relayd.receive import boot
from relayd.receive.post import Post
from relayd.spool.disk import Disk
from relayd.spool.hint import Hints
from relayd.spool.layout import Layout
from relayd.spool.measured import MeasuredDisk

HOST = "relay.example.org"
WAIT = 10.0
LOOPS = ("uvloop", "asyncio")
_SWEEP = 0.05
_WRONG_PASSWORD = 0.001

_ADDED = re.compile(
    rb"\A(?:Date: [^\r\n]* \+0000\r\n)?(?:Message-ID: <[0-9a-z]{17}@relay\.example\.org>\r\n(?:\r\n(?=.))?)?",
    re.DOTALL,
)

TRANSACTION = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


def configuration(folder: Path, settings: str = "") -> Config:
    """A configuration whose spool is below the folder; `settings` are more lines of TOML."""
    path = folder / "relayd.toml"
    if "stop_timeout" not in settings:
        settings = f'[process]\nstop_timeout = "0s"\n{settings}'
    path.write_text(f'hostname = "{HOST}"\n{settings}\n')
    config = load(path, spool=folder / "spool")
    Layout(str(config.spool.directory)).create()
    return config


class Client:
    """One connection of a client, with the greeting read already unless told otherwise."""

    def __init__(
        self, address: tuple[str, int], *, greeted: bool = True, buffer: int | None = None, source: str = ""
    ) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(WAIT)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        self.port: int = self.socket.getsockname()[1]
        self._lines = self.socket.makefile("rb")
        if greeted:
            assert self.hears().startswith("220 ")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self.socket.close()

    def says(self, *octets: bytes) -> None:
        """Send it in one write."""
        self.socket.sendall(b"".join(octets))

    def hears(self) -> str:
        """The next line without its CR LF; empty when the server has closed."""
        line = self._lines.readline()
        assert not line or line.endswith(b"\r\n"), line
        return line[:-2].decode("ascii")

    def hears_all(self) -> list[str]:
        """Every line until the server closes; a reset ends it too."""
        lines = []
        with suppress(ConnectionResetError):
            while line := self.hears():
                lines.append(line)
        return lines

    def begins(self, command: bytes = TRANSACTION) -> None:
        """HELO and a transaction up to the 354."""
        self.says(b"HELO client.example\r\n", command)
        for code in ("250", "250", "250", "354"):
            line = self.hears()
            assert line.startswith(code), line

    def dies(self) -> None:
        """Vanish with a reset, as a client that is killed with unread replies does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._lines.close()
        self.socket.close()

    def starts_tls(self) -> None:
        """The client's side of the handshake; all that follows is inside."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._lines.close()
        self.socket = context.wrap_socket(self.socket)
        self._lines = self.socket.makefile("rb")

    def ends(self) -> None:
        """Say no more, and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)


@dataclass
class Live:
    """A running worker."""

    config: Config
    pid: int
    channel: Channel
    hints: Hints
    slot: Slot
    listeners: Sequence[socket.socket]
    loop: str
    _log: int
    _unread: bytes = b""
    _status: int | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where the first listener is."""
        name = self.listeners[0].getsockname()
        return name[0], name[1]

    def client(self, *, greeted: bool = True, buffer: int | None = None, source: str = "") -> Client:
        """A client that has connected, from this address where one is named."""
        return Client(self.address, greeted=greeted, buffer=buffer, source=source)

    def files(self, folder: str = "new") -> list[Path]:
        """What is in a folder of the spool."""
        return sorted((self.config.spool.directory / folder).iterdir())

    def mail(self) -> list[bytes]:
        """The mail data of all messages in new/, without the trace line."""
        return [mail_of(path)[1] for path in self.files()]

    def hears(self) -> Said | Garbled | None:
        """What the worker says next on its channel, None at the end of file."""
        _wait_for(self.channel.fileno())
        return self.channel.receive()

    def event(self, name: str) -> dict[str, Any]:
        """The next event of this name in the log; those before it are gone."""
        while True:
            while b"\n" not in self._unread:
                _wait_for(self._log)
                octets = os.read(self._log, 65_536)
                if not octets:
                    raise EOFError(f"the worker has ended without {name}")
                self._unread += octets
            line, _, self._unread = self._unread.partition(b"\n")
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
            assert event["event"] != "bug", event["traceback"]

    def events(self) -> list[dict[str, Any]]:
        """All events that are left, once the worker has ended."""
        self.status()
        octets = self._unread
        while chunk := os.read(self._log, 65_536):
            octets += chunk
        return [json.loads(line) for line in octets.splitlines()]

    def retire(self, seconds: float) -> None:
        """Tell it to end."""
        assert self.channel.send(Retire(seconds))

    def status(self) -> int:
        """Its exit status, once it has ended."""
        if self._status is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                _wait_for(pidfd)
            finally:
                os.close(pidfd)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def close(self) -> None:
        """End it, whatever it does."""
        self.channel.close()
        try:
            self.status()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            raise
        finally:
            os.close(self._log)
            for listener in self.listeners:
                listener.close()


def start(
    folder: Path,
    *,
    settings: str = "",
    loop: str = "uvloop",
    disk: Disk | None = None,
    addresses: Sequence[str] = ("127.0.0.1",),
    grace: float = 3.0,
    files: int | None = None,
    place: tuple[int, int] | None = None,
    change: Callable[[Config], Config] = lambda config: config,
    before: Callable[[Config, list[socket.socket]], None] = lambda config, listeners: None,
) -> Live:
    """Fork a worker; what it says first on its channel is not read yet.

    `change` makes the configuration another one than a file could say, `files` limits the descriptors, `place` is
    its number and of how many, and `before` spoils in the child what it needs to boot.
    """
    config = change(configuration(folder, settings))
    listeners = [_bound(address) for address in addresses]
    ours, theirs = Channel.pair()
    hints = Hints()
    slot, tally = Board(1).slot(0), Tally(1)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            ours.close()
            os.close(reading)
            os.environ["RELAYD_LOOP"] = loop
            if files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            log = Log("json", fd=writing)
            before(config, listeners)
            bound = [
                Bound(each, config.listeners[min(number, len(config.listeners) - 1)])
                for number, each in enumerate(listeners)
            ]
            status = boot.serve(
                Post(
                    config,
                    bound,
                    hints,
                    theirs,
                    slot,
                    log,
                    tally.hand(0),
                    disk or MeasuredDisk(),
                    grace,
                    _SWEEP,
                    wrong_password=_WRONG_PASSWORD,
                    place=place,
                )
            )
        finally:
            os._exit(status)
    theirs.close()
    os.close(writing)
    return Live(config, pid, ours, hints, slot, listeners, loop, reading)


@contextmanager
def live(folder: Path, *, begin: bool = True, **options: Any) -> Iterator[Live]:
    """A worker that has begun, and ends with the block; see `start`."""
    running = start(folder, **options)
    try:
        said = running.hears()
        assert said == Waiting(), said
        if begin:
            running.channel.send(Begin())
            assert running.hears() == Ready()
        yield running
    finally:
        running.close()


def mail_of(path: Path) -> tuple[bytes, bytes]:
    """The trace line of a message file, and the mail data as the client sent it.

    What completes a header is taken off again, with the line that ends one where the client has sent text alone.
    """
    _, _, mail = path.read_bytes().partition(b"\n\n")
    end = mail.index(b"\r\n")
    while mail[end + 2 : end + 3] == b"\t":
        end = mail.index(b"\r\n", end + 2)
    return mail[: end + 2], _ADDED.sub(b"", mail[end + 2 :])


def _bound(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    # As the master does: its port must be free for the next one while sessions of the last still run.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 0))
    listener.listen()
    listener.setblocking(False)
    return listener


def _wait_for(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(WAIT * 1000):
        raise TimeoutError(f"nothing happened in {WAIT} s")
