"""A handover: what a master that executes other code in place leaves to that code, which is the same process.

The state is one value, JSON in memory behind a descriptor whose number is in the environment; sockets, shared
memory and the lock are descriptors that stay open. The one who reads it may be of another version: what it does
not know is left out, what is missing has a default, and what it gives back is whole. Refuses to know what either
of them does with it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import msgspec

from relayd.base.bound import Bound
from relayd.base.line import Format
from relayd.base.source import Source
from relayd.master.children import HANDLED, Child

VARIABLE = "RELAYD_HANDOVER"
# The module of other code that a command line for this ends with.
ENTRANCE = "relayd.cli.adopt"
# What is added to the command of the code that is to run: the last word says what for.
CHECK = "check"
ADOPT = "adopt"
# Code that hangs while it starts is ended by the kernel then.
_ADOPTING_SECONDS = 60
_LONGEST_REASON = 2000


class NoHandover(Exception):
    """The environment names no state, or the state cannot be read; the text says why."""


class Door(msgspec.Struct, frozen=True):
    """A listening socket, and the address and port as the configuration wrote them.

    A listener may have several sockets, and several may be written alike: those of one have the same number.
    """

    fd: int
    address: str
    port: int
    listener: int


class Kin(msgspec.Struct, frozen=True):
    """A child that runs; times are those of `master.children.Child`."""

    role: str
    pid: int
    slot: int
    began: float
    started: float
    channel: int
    part: int | None = None
    is_single: bool = False
    is_waiting: bool = False
    has_begun: bool = False
    is_ready: bool = False
    restarts: int = 0
    retire_by: float | None = None


class Shared(msgspec.Struct, frozen=True):
    """Memory and sockets that the master shares with its children, by descriptor."""

    board: int
    tally: int
    hints: tuple[int, int]


class State(msgspec.Struct, frozen=True):
    """Everything. `command` is what the one who left it was executed by; `asker` is to be told how it ended.

    `commands` have connected and said nothing yet; `orders` wait for the delivery process, by ticket. `totals` are
    those of all processes, for code whose counters have another layout. `failure` says why the code that
    this was first left to could not take it; then it is back where it came from.
    """

    version: str
    command: tuple[str, ...]
    source: Source
    fixed: dict[str, str]
    log_file: str | None
    log_format: Format
    began: float
    control: int
    lock: int
    shared: Shared
    doors: tuple[Door, ...]
    children: tuple[Kin, ...] = ()
    totals: dict[str, int] = {}
    commands: tuple[int, ...] = ()
    orders: dict[int, int] = {}
    last_ticket: int = 0
    asker: int | None = None
    failure: str = ""

    def descriptors(self) -> list[int]:
        """All that must stay open."""
        shared = self.shared
        some = [self.control, self.lock, shared.board, shared.tally, *shared.hints, self.asker]
        some += [*self.commands, *self.orders.values()]
        some += [each.fd for each in self.doors]
        some += [each.channel for each in self.children]
        return [fd for fd in some if fd is not None]


def doors(bound: Sequence[Bound]) -> tuple[Door, ...]:
    """The master's."""
    numbers: dict[int, int] = {}
    return tuple(
        Door(
            each.socket.fileno(),
            each.listener.address,
            each.listener.port,
            numbers.setdefault(id(each.listener), len(numbers)),
        )
        for each in bound
    )


def kin(child: Child) -> Kin | None:
    """A child that runs; None for one that has no place, since it ends by itself."""
    if child.place is None or child.channel is None:
        return None
    return Kin(
        role=child.role,
        pid=child.pid,
        slot=child.place.slot,
        began=child.began,
        started=child.started,
        channel=child.channel.fileno(),
        part=child.place.part,
        is_single=child.is_single,
        is_waiting=child.is_waiting,
        has_begun=child.has_begun,
        is_ready=child.is_ready,
        restarts=child.restarts,
        retire_by=child.retire_by,
    )


def own_command() -> list[str]:
    """What executes the code that runs: isolated, and, as this process, perhaps without compiled files."""
    written = ["-B"] if sys.dont_write_bytecode else []
    return [sys.executable, "-I", *written, "-m", ENTRANCE]


def left(state: State) -> int:
    """Put the state into memory; give its descriptor, which is the caller's to close."""
    return _in_memory(msgspec.json.encode(state))


def _in_memory(written: bytes) -> int:
    fd = os.memfd_create("relayd-handover", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as memory:
        memory.write(written)
    return fd


def found(environment: MutableMapping[str, str]) -> bytes:
    """What is written where the environment says; the name is taken away. Raises NoHandover."""
    number = environment.pop(VARIABLE, "")
    try:
        with open(int(number), "rb") as memory:
            memory.seek(0)
            return memory.read()
    except (ValueError, OSError) as error:
        raise NoHandover(f"{VARIABLE} = {number[:40]!r}: {error}") from None


def understood(written: bytes) -> State:
    """What this code makes of it. Raises NoHandover."""
    try:
        return msgspec.json.decode(written, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoHandover(f"what the running code has left cannot be read: {error}") from None


def go_back(written: bytes, reason: str) -> str:
    """Become the code again that has left this, which is told the reason.

    It gets back what it wrote, of which this code may know less, and all its descriptors, which nobody has closed.
    Comes back with the reason of the end where it is this code itself, or cannot be executed any more.
    """
    fields: dict[str, Any] = msgspec.json.decode(written)
    if fields.get("failure"):
        return reason
    fields["failure"] = reason[:_LONGEST_REASON]
    command = fields["command"]
    try:
        _become(command, msgspec.json.encode(fields), (), tuple)
    except OSError as error:
        return f"{reason}; and going back to {command[0]}: {error.strerror}"


def execute(command: Sequence[str], state: State, heard: Callable[[], Iterable[int]]) -> NoReturn:
    """Become that code, with the state; raise OSError when that cannot be, and then everything is as it was.

    `heard` gives the signals that came and were not acted on; they come again afterwards.
    """
    _become(command, msgspec.json.encode(state), state.descriptors(), heard)


def _become(
    command: Sequence[str], written: bytes, descriptors: Iterable[int], heard: Callable[[], Iterable[int]]
) -> NoReturn:
    fd = _in_memory(written)
    kept = [fd, *descriptors]
    try:
        for each in kept:
            os.set_inheritable(each, True)
        with _held_back():
            for number in set(heard()):
                os.kill(os.getpid(), number)
            os.execve(command[0], [*command, ADOPT], {**os.environ, VARIABLE: str(fd)})
    finally:
        for each in kept:
            os.set_inheritable(each, False)
        os.close(fd)


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals wait until the new code hears them, since they would end it; an alarm ends it in case it hangs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    signal.alarm(_ADOPTING_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_through() -> None:
    """In the new code, once it listens to signals: those that waited come now."""
    signal.alarm(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def last_words(said: str, otherwise: str) -> str:
    """The last line that a program wrote, which is where a traceback has its reason."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else otherwise)[:_LONGEST_REASON]
