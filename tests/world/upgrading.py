"""Upgrading: a relay that other code takes the place of, and a client that hears whether anybody noticed.

Nothing here imports relayd.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .code import Code, code
from .relay import Relay, relay

_SECONDS = 20
MARK = b"X-Number: "


@contextmanager
def upgradable(**sections: str) -> Iterator[Relay]:
    """A relay of version 1, not started yet."""
    with relay(**sections) as running:
        running.python = code(running.folder / "one", "1").python
        yield running


def upgrade(running: Relay, new: Code) -> subprocess.CompletedProcess[str]:
    """Run the new code's command; what runs is asked with it from then on."""
    return subprocess.run(
        [new.python, "-I", "-m", "relayd", "upgrade", "-c", str(running.config)],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )


def lines(said: subprocess.CompletedProcess[str]) -> int:
    """How many lines it complained with."""
    return len(said.stderr.splitlines())


class Session:
    """A client's session, whose every reply is what is expected or an AssertionError."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self._replies = self._connection.makefile("rb")
        self.says(b"", b"220 ")
        self.says(b"HELO client.example.org", b"250 ")

    def says(self, line: bytes, expected: bytes) -> bytes:
        """Say a line, unless it is empty, and hear the reply to it."""
        if line:
            self._connection.sendall(line + b"\r\n")
        reply = self._replies.readline()
        assert reply.startswith(expected), (line, reply)
        return reply

    def begin(self) -> None:
        """Come to the mail data."""
        self.says(b"MAIL FROM:<alice@example.org>", b"250 ")
        self.says(b"RCPT TO:<bob@example.test>", b"250 ")
        self.says(b"DATA", b"354 ")

    def end(self, number: int) -> None:
        """Send the mail data."""
        self.says(MARK + b"%d\r\n\r\ntext\r\n." % number, b"250 ")

    def quit(self) -> None:
        """Go."""
        self.says(b"QUIT", b"221 ")
        assert self._replies.readline() == b""
        self._replies.close()
        self._connection.close()
