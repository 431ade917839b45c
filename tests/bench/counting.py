"""A counting sink: smtp-sink, whose counters are looked at rarely enough not to be a part of the figures.

smtp-sink could also end by itself at the last message (-M), but leaves that one without an answer, and it would
wait in the queue of the server under test during the next round. Raises OSError when it is not there, TimeoutError
when what is waited for does not come.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.world.authority import Papers
from tests.world.network import free_port

_COUNTERS = re.compile(rb"mesg=(\d+)\s*\r")
_PERIOD = 0.005
_START_SECONDS = 5.0
# As many as may connect before it comes to accept.
_BACKLOG = "4096"


class CountingSink:
    """A running one; `port` is where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process
        self._changed = threading.Condition()
        self._count = 0
        self._at = time.monotonic()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="counters of smtp-sink", daemon=True)
        self._reader.start()

    @property
    def count(self) -> int:
        """How many messages came so far."""
        with self._changed:
            return self._count

    def wait_for(self, count: int, timeout: float) -> float:
        """Wait until so many have come; give the instant when that was seen, on the monotonic clock."""
        with self._changed:
            self._changed.wait_for(lambda: self._count >= count or self._ended, timeout)
            if self._count < count:
                raise TimeoutError(f"smtp-sink has {self._count} of {count} messages")
            return self._at

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        unread = b""
        while chunk := os.read(self._process.stdout.fileno(), 65_536):
            unread += chunk
            found = _COUNTERS.findall(unread)
            unread = unread[unread.rfind(b"\r") + 1 :]
            if found and int(found[-1]) > self._count:
                with self._changed:
                    self._count = int(found[-1])
                    self._at = time.monotonic()
                    self._changed.notify_all()
            # A look for each message would take as long as the message.
            time.sleep(_PERIOD)
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def counting_sink(address: str, papers: Papers | None = None) -> Iterator[CountingSink]:
    """Run one at this address of loopback, or at all addresses: "0.0.0.0". With papers it starts TLS."""
    port = free_port(address)
    if papers is None:
        command = [program("smtp-sink"), "-c"]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        command += [f"{address}:{port}", _BACKLOG]
    else:
        command = [sys.executable, "-I", "-m", "tests.bench.tls_sink", address, str(port)]
        command += [str(papers.certificate), str(papers.key)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until_it_listens("127.0.0.2" if address == "0.0.0.0" else address, port, _START_SECONDS)
            running = CountingSink(process, port)
            try:
                yield running
            finally:
                running.end()
        finally:
            process.kill()


def wait_until_it_listens(address: str, port: int, seconds: float) -> None:
    """Connect until somebody says a word; TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((address, port), seconds) as connection:
                if connection.recv(1):
                    return
        except OSError:
            pass
        if time.monotonic() >= deadline:
            raise TimeoutError(f"nobody listens at {address}:{port} after {seconds:.0f} s")
        time.sleep(_PERIOD)


def program(name: str) -> str:
    """The path of one of Postfix's programs; Debian keeps them where not every user looks. FileNotFoundError."""
    path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/lib/postfix/sbin")
    if path is None:
        raise FileNotFoundError(f"{name} is not installed; Debian's package postfix has it")
    return path
