"""Control: how a command reaches the running master, one JSON line each way over a UNIX socket.

The socket stands beside the pid file and is its owner's alone. Refuses to know what a request leads to. `ask`
fails with NotRunning when nobody listens.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from relayd.master.privileges import Identity
from relayd.master.report import Report
from relayd.master.trouble import StartFailed

T = TypeVar("T")

_LARGEST = 1 << 20
_BACKLOG = 16
ANSWER_SECONDS = 10.0
# An order waits for the disk, once for each message.
_ORDER_SECONDS = 120.0
# Another one may be under way, and goes first.
_RELOAD_SECONDS = 600.0


class NotRunning(Exception):
    """No master listens at the socket, or it has not answered; the text says which, in words for people."""


class StatusPlease(msgspec.Struct, frozen=True, tag_field="ask", tag="status"):
    """What is the state of everything?"""


class StopPlease(msgspec.Struct, frozen=True, tag_field="ask", tag="stop"):
    """End, as SIGTERM says it."""


class ReloadPlease(msgspec.Struct, frozen=True, tag_field="ask", tag="reload"):
    """Read the configuration anew and replace everything; answered with an Outcome when that is over."""


class OperatePlease(msgspec.Struct, frozen=True, tag_field="ask", tag="operate"):
    """An order about messages, for the delivery process; the words are those of `base.channel.Operate`."""

    verb: Literal["remove", "fail"]
    ids: tuple[str, ...]
    recipient: str | None = None
    notify: bool = False


class UpgradePlease(msgspec.Struct, frozen=True, tag_field="ask", tag="upgrade"):
    """Execute other code in place. `command` is an interpreter and its words, to which CHECK or ADOPT is added."""

    command: tuple[str, ...]


class Outcome(msgspec.Struct, frozen=True):
    """How a reload or an upgrade ended: the reason where it failed, and warnings for people where it did not."""

    ok: bool
    reason: str = ""
    warnings: tuple[str, ...] = ()


class Answers(msgspec.Struct, frozen=True):
    """What came of an order, for each ID; or why nothing did."""

    results: tuple[str, ...] = ()
    failure: str = ""


Request = StatusPlease | StopPlease | ReloadPlease | UpgradePlease | OperatePlease
_request: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_report = msgspec.json.Decoder(Report)
_answers = msgspec.json.Decoder(Answers)
_outcome = msgspec.json.Decoder(Outcome)
_encoder = msgspec.json.Encoder()


class Control:
    """The master's end."""

    def __init__(self, pid_file: Path, owner: Identity, listening: int | None = None) -> None:
        """`listening` is the descriptor that a master of the same pid had before it executed other code."""
        path = self._path = socket_path(pid_file)
        if listening is not None:
            self._listening = socket.socket(fileno=listening)
            return
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
                os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
        except OSError as error:
            raise StartFailed(f"{path}: {error.strerror}") from None
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
    def hear(connection: socket.socket) -> Request | None:
        """The one request that is there; None, and the connection is closed, for what is none."""
        try:
            return _request.decode(connection.recv(_LARGEST))
        except (OSError, msgspec.MsgspecError):
            connection.close()
            return None

    @staticmethod
    def answer(connection: socket.socket, said: Report | Answers | Outcome) -> None:
        """Answer it, and close."""
        with connection, contextlib.suppress(OSError):
            connection.send(_encoder.encode(said))

    def close(self) -> None:
        """Stop listening; a child does only this."""
        self._listening.close()

    def remove(self) -> None:
        """Stop listening, and take the name away."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def ask(pid_file: Path, request: StatusPlease | StopPlease, *, seconds: float = ANSWER_SECONDS) -> Report:
    """Put a question to the master; raise NotRunning, or PermissionError when it belongs to another user."""
    return _ask(pid_file, request, _report, seconds)


def order(pid_file: Path, request: OperatePlease) -> Answers:
    """Give an order to the delivery process; raises as `ask` does."""
    return _ask(pid_file, request, _answers, _ORDER_SECONDS)


def reload(pid_file: Path) -> Outcome:
    """Have the configuration read anew, and wait until that is over; raises as `ask` does."""
    return _ask(pid_file, ReloadPlease(), _outcome, _RELOAD_SECONDS)


def upgrade(pid_file: Path, command: Sequence[str]) -> Outcome:
    """Have other code executed in place, and wait until everything runs it; raises as `ask` does."""
    return _ask(pid_file, UpgradePlease(tuple(command)), _outcome, _RELOAD_SECONDS)


def _ask(pid_file: Path, request: Request, decoder: msgspec.json.Decoder[T], seconds: float) -> T:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            with _short(socket_path(pid_file)) as name:
                connection.connect(name)
        except PermissionError:
            raise
        except OSError:
            raise NotRunning(f"relayd is not running: nobody listens beside {pid_file}") from None
        try:
            connection.sendall(_encoder.encode(request))
            return decoder.decode(b"".join(iter(lambda: connection.recv(_LARGEST), b"")))
        except TimeoutError:
            raise NotRunning(
                f"relayd runs and has not answered within {seconds:.0f} s; its log may say why"
            ) from None
        except (OSError, msgspec.MsgspecError):
            raise NotRunning("relayd has ended, or does not understand this; its log may say why") from None


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
