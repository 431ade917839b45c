"""Postfix's test programs: smtp-source, which sends mail, and smtp-sink, which counts and dumps what it gets.

They are child processes on loopback, an implementation of SMTP that nobody here wrote. Nothing is configured
and no Postfix runs. A program that cannot start or takes too long raises.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import psutil

_START_TIMEOUT = 5.0
_START_STEP = 0.005
_BACKLOG = "100"
_COUNTERS = re.compile(rb"sess=(\d+)\s+quit=(\d+)\s+mesg=(\d+)\s*\r")


@dataclass(frozen=True, slots=True)
class Dumped:
    """One message in smtp-sink's dump: the arguments of the commands, and the mail data.

    smtp-sink writes no CR; `data` has CR LF for every LF, so it is the mail data byte for byte where every
    line of it ended in CR LF and no CR stood elsewhere.
    """

    protocol: str
    helo: str
    reverse_path: str
    recipients: tuple[str, ...]
    data: bytes


class Sent(NamedTuple):
    """How a run of smtp-source ended, and how many seconds it took."""

    process: subprocess.CompletedProcess[bytes]
    seconds: float


def available() -> bool:
    """Whether both programs are installed (Debian's package postfix has them)."""
    return _path("smtp-source") is not None and _path("smtp-sink") is not None


def source(
    host: str, port: int, sessions: int, messages: int, length: int, *options: str, timeout: float = 60.0
) -> Sent:
    """Send `messages` with `length` octets of body over so many parallel sessions, and wait for the end.

    Options are those of smtp-source(1), such as "-f", reverse-path, "-t", forward-path. A reply it did not
    expect makes it exit with a status that is not 0; subprocess.TimeoutExpired after `timeout` seconds.
    """
    numbers = ["-s", str(sessions), "-m", str(messages), "-l", str(length)]
    # Without a name it takes the machine's, which a test should not depend on; a later -M still wins.
    command = [_required("smtp-source"), "-M", "source.test", *numbers, *options, f"{host}:{port}"]
    started = time.monotonic()
    process = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    return Sent(process, time.monotonic() - started)


class Sink:
    """A running smtp-sink; `address` is where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], address: tuple[str, int], dump: Path | None) -> None:
        self.process = process
        self.address = address
        self._dump = dump
        self._changed = threading.Condition()
        self._count = 0
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="smtp-sink counters", daemon=True)
        self._reader.start()

    @property
    def count(self) -> int:
        """How many messages arrived: it counts at the final dot, just before it replies."""
        with self._changed:
            return self._count

    def wait_for(self, count: int, timeout: float = 30.0) -> None:
        """Wait until so many messages have arrived; TimeoutError after `timeout` seconds or when it ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._count >= count or self._ended, timeout)
            if self._count < count:
                state = "has ended" if self._ended else "is running"
                raise TimeoutError(f"{self._count} of {count} messages at {self.address}; smtp-sink {state}")

    def dumped(self) -> list[Dumped]:
        """The messages in the order of their arrival; to be asked while no transaction is open.

        ValueError without a dump directory, or for a dump that ends too early.
        """
        if self._dump is None:
            raise ValueError("this smtp-sink was started without a dump directory")
        files = sorted(self._dump.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        return [_parse(file.read_bytes()) for file in files]

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        unread = b""
        while chunk := os.read(self.process.stdout.fileno(), 65_536):
            unread += chunk
            for counters in _COUNTERS.finditer(unread):
                self._set(int(counters[3]))
            unread = unread[unread.rfind(b"\r") + 1 :]
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _set(self, count: int) -> None:
        with self._changed:
            self._count = count
            self._changed.notify_all()


@contextmanager
def sink(
    address: tuple[str, int] = ("127.0.0.1", 0),
    *options: str,
    stop_after: int | None = None,
    dump: Path | None = None,
) -> Iterator[Sink]:
    """Run smtp-sink while the context lasts; it listens when this yields. Port 0 is any free one.

    Options are those of smtp-sink(1): "-8", "-e", "-w", seconds. `dump` is the directory that gets a file a
    message. With `stop_after` it exits at that many final dots, without a reply to the last one (-M is so).
    """
    command = [_required("smtp-sink"), "-c", *options]
    if os.geteuid() == 0:
        # Required of root; root again, so that it can write where the test can.
        command += ["-u", "root"]
    if dump is not None:
        # The template is for strftime; it appends a number of its own to each name.
        command += ["-d", str(dump).replace("%", "%%") + "/message."]
    if stop_after is not None:
        command += ["-M", str(stop_after)]
    command += [f"{address[0]}:{address[1]}", _BACKLOG]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            running = Sink(process, (address[0], _listening_port(process, errors)), dump)
            try:
                yield running
            finally:
                running.kill()
        finally:
            process.kill()


def _listening_port(process: subprocess.Popen[bytes], errors: IO[bytes]) -> int:
    """The port, once the process listens. Asked of the kernel: a connection would count as a session."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is None:
            for connection in psutil.Process(process.pid).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    return int(connection.laddr.port)
        try:
            process.wait(_START_STEP)
        except subprocess.TimeoutExpired:
            continue
        break
    errors.seek(0)
    raise RuntimeError(f"smtp-sink does not listen: {errors.read().decode(errors='replace').strip()}")


def _parse(dump: bytes) -> Dumped:
    """One dump file; its format is in smtp-sink(1)."""
    said: dict[bytes, list[str]] = {}
    commands, rest = dump.split(b"\nReceived: ", 1)
    for line in commands.split(b"\n"):
        key, _, value = line.partition(b": ")
        said.setdefault(key, []).append(value.decode("latin-1"))
    _, _, _, data = rest.split(b"\n", 3)
    return Dumped(
        protocol=said[b"X-Client-Proto"][0],
        helo=said.get(b"X-Helo-Args", [""])[0],
        reverse_path=said[b"X-Mail-Args"][0],
        recipients=tuple(said[b"X-Rcpt-Args"]),
        data=data.removesuffix(b"\n").replace(b"\n", b"\r\n"),
    )


def _path(program: str) -> str | None:
    # Debian keeps them in /usr/sbin, which is not on every user's path.
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")


def _required(program: str) -> str:
    path = _path(program)
    if path is None:
        raise FileNotFoundError(f"{program} is not installed; Debian's package postfix has it")
    return path
