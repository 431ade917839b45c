"""Control: how a command reaches the running master, one JSON line each way over a UNIX socket.

The socket stands beside the pid file and is its owner's alone. Refuses to know what a request leads to. `ask`
fails with NotRunning when nobody listens.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

_LARGEST = 1 << 20
_BACKLOG = 16
_ANSWER_SECONDS = 10.0


class NotRunning(Exception):
    """No master listens at the socket."""


class StatusPlease(msgspec.Struct, frozen=True, tag_field="ask", tag="status"):
    """What is the state of everything?"""


class StopPlease(msgspec.Struct, frozen=True, tag_field="ask", tag="stop"):
    """End, as SIGTERM says it."""


class Process(msgspec.Struct, frozen=True):
    """One process: `started` is seconds since 1970; `restarts` counts since the master's start."""

    role: str
    pid: int
    started: float
    state: str
    restarts: int = 0
    gauges: dict[str, int] = {}


class Report(msgspec.Struct, frozen=True):
    """The master's answer to both: how things stand. `totals` count since its start."""

    version: str
    pid: int
    started: float
    state: str
    user: str
    listening: list[str]
    processes: list[Process]
    totals: dict[str, int]


Request = StatusPlease | StopPlease
_request = msgspec.json.Decoder(Request)
_report = msgspec.json.Decoder(Report)
_encoder = msgspec.json.Encoder()


class Control:
    """The master's end."""

    def __init__(self, pid_file: Path, owner: Identity) -> None:
        path = socket_path(pid_file)
        try:
            path.unlink(missing_ok=True)
            self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o177)
            try:
                with _short(path) as name:
                    self._listening.bind(name)
            finally:
                os.umask(before)
            if os.geteuid() == 0:
                os.chown(path, owner.uid, owner.gid)
        except OSError as error:
            raise StartFailed(f"{path}: {error.strerror}") from None
        self._path = path
        self._listening.listen(_BACKLOG)
        self._listening.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._listening.fileno()

    def accept(self) -> socket.socket | None:
        """A command that has connected, or None when it has gone again."""
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return None
        connection.setblocking(False)
        return connection

    @staticmethod
    def answer(connection: socket.socket, reply: Callable[[Request], Report]) -> None:
        """Read the one request that is there, answer it, and close; what is no request gets no answer."""
        with connection, contextlib.suppress(OSError, msgspec.MsgspecError):
            connection.send(_encoder.encode(reply(_request.decode(connection.recv(_LARGEST)))))

    def close(self) -> None:
        """Stop listening; a child does only this."""
        self._listening.close()

    def remove(self) -> None:
        """Stop listening, and take the name away."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def ask(pid_file: Path, request: Request) -> Report:
    """Put a request to the master; raise NotRunning, or PermissionError when it belongs to another user."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            with _short(socket_path(pid_file)) as name:
                connection.connect(name)
            connection.sendall(_encoder.encode(request))
            said = b"".join(iter(lambda: connection.recv(_LARGEST), b""))
            return _report.decode(said)
        except PermissionError:
            raise
        except (OSError, msgspec.MsgspecError) as error:
            raise NotRunning(str(error)) from None


def socket_path(pid_file: Path) -> Path:
    """Where the socket of a master with this pid file is."""
    return pid_file.with_suffix(".sock")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for the socket of at most 107 octets, which is all that the kernel takes, however deep it stands."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
