"""The handover: what comes through an exec as it was, what may be missing, and what an exec that fails leaves."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from relayd.base.bound import Bound
from relayd.base.sections import Listener
from relayd.base.source import Source
from relayd.master import handover
from relayd.master.children import HANDLED
from relayd.master.handover import VARIABLE, Door, Kin, NoHandover, Shared, State

TOP = str(Path(__file__).parents[2])
DELIVERY = Kin("delivery", 4713, 3, 5.0, 1.7e9, 12, is_single=True, is_waiting=True, has_begun=True, is_ready=True)
WORKER = Kin("worker 1", 4712, 1, 5.5, 1.7e9, 11, part=0, retire_by=77.0)


def state(*fds: int) -> State:
    """One whose descriptors are these six; the children's are made up."""
    control, lock, board, tally, receiving, sending = fds
    return State(
        version="1",
        command=("/usr/bin/python3", "-I", "-m", "relayd.cli.adopt"),
        source=Source("/etc/relayd.toml", None, ("127.0.0.1",), 2525, 'hostname = "ä"\n'),
        fixed={"[process] user": "relayd"},
        log_file=None,
        log_format="text",
        began=1.7e9,
        control=control,
        lock=lock,
        shared=Shared(board, tally, (receiving, sending)),
        doors=(Door(sending, "localhost", 25, 0),),
        totals={"accepted": 3},
        orders={7: sending},
        last_ticket=7,
    )


@pytest.fixture
def fds() -> list[int]:
    """Six descriptors that are open, none of which goes through an exec by itself."""
    return [os.memfd_create("test", os.MFD_CLOEXEC) for _ in range(6)]


def test_a_state_is_found_as_it_was_left() -> None:
    """With every field; the name is gone from the environment, and the descriptor is closed."""
    left = msgspec.structs.replace(state(*range(20, 26)), children=(WORKER, DELIVERY), asker=30)
    fd = handover.left(left)
    environment = {VARIABLE: str(fd), "HOME": "/"}
    assert handover.understood(handover.found(environment)) == left
    assert environment == {"HOME": "/"}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_state_of_another_version_may_have_more_and_less() -> None:
    """What is not known is left out, and what is missing has its default."""
    written = json.loads(msgspec.json.encode(msgspec.structs.replace(state(*range(20, 26)), children=(WORKER,))))
    written |= {"moon": "full"}
    written["children"][0]["mood"] = "good"
    del written["orders"], written["children"][0]["retire_by"]
    found = handover.understood(json.dumps(written).encode())
    assert found.orders == {}
    assert found.children == (msgspec.structs.replace(WORKER, retire_by=None),)


@pytest.mark.parametrize("number", ["", "x", "-1", "99999", "²", "9" * 5000])
def test_an_environment_without_a_state_is_told(number: str) -> None:
    """As when somebody starts the new code by hand."""
    with pytest.raises(NoHandover, match=VARIABLE):
        handover.found({VARIABLE: number})
    with pytest.raises(NoHandover, match=VARIABLE):
        handover.found({})


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": "\xff"}'])
def test_memory_that_holds_no_state_is_told(octets: bytes) -> None:
    """Whatever stands in it."""
    with pytest.raises(NoHandover, match="cannot be read"):
        handover.understood(octets)


def test_all_descriptors_are_named() -> None:
    """Whatever is not would be closed by the exec."""
    left = msgspec.structs.replace(
        state(*range(20, 26)), children=(WORKER, DELIVERY), asker=30, commands=(31,), orders={1: 32}
    )
    assert sorted({*left.descriptors()}) == [11, 12, *range(20, 26), 30, 31, 32]


def test_the_sockets_of_one_listener_have_its_number() -> None:
    """Also where several listeners are written alike."""
    first, second = Listener("localhost", 0), Listener("localhost", 0)
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        found = handover.doors([Bound(a, first), Bound(b, first), Bound(c, second)])
        assert [(door.fd, door.listener) for door in found] == [(a.fileno(), 0), (b.fileno(), 0), (c.fileno(), 1)]


def test_an_exec_that_fails_leaves_everything_as_it_was(fds: list[int]) -> None:
    """No descriptor goes to children, signals come, no alarm is set, and no memory is left open."""
    before = sorted(os.listdir("/proc/self/fd"))
    came: list[int] = []
    usual = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        with pytest.raises(FileNotFoundError):
            handover.execute(["/no/such/python", "-I"], state(*fds), lambda: [signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, usual)
    assert came == [signal.SIGUSR1]
    assert not any(os.get_inheritable(fd) for fd in fds)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(HANDLED)
    assert signal.alarm(0) == 0
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert VARIABLE not in os.environ


ENTERED = """
import os, signal, sys
sys.path.insert(0, {top!r})
from relayd.master import handover
state = handover.understood(handover.found(os.environ))
open_now = [fd for fd in state.descriptors() if os.path.exists(f"/proc/self/fd/{{fd}}")]
held = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
pending = sorted(signal.sigpending())
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: os.write(state.lock, b"heard"))
alarm = signal.alarm(0)
handover.let_signals_through()
left = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
os.write(state.control, repr((sys.argv[1:], len(open_now), held, pending, alarm > 0, left, os.getpid())).encode())
"""


def test_the_new_code_has_the_descriptors_and_the_signals_that_came_meanwhile(fds: list[int]) -> None:
    """The same pid; SIGTERM before it could listen has not ended it, and is heard when it does.

    So is SIGUSR1, which the old code had heard of and not acted on.
    """
    pid = os.fork()
    if pid == 0:
        # A SIGTERM that waits, as one that comes in the middle.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        os.kill(os.getpid(), signal.SIGTERM)
        handover.execute(
            [sys.executable, "-c", ENTERED.format(top=TOP)], state(*fds), lambda: [signal.SIGUSR1] * 2
        )
    assert os.waitpid(pid, 0) == (pid, 0)
    control, lock, *_ = fds
    said = os.pread(control, 4096, 0).decode()
    held = sorted(HANDLED)
    assert said == repr(
        (["adopt"], len(state(*fds).descriptors()), held, [signal.SIGUSR1, signal.SIGTERM], True, [], pid)
    )
    assert os.pread(lock, 100, 0) == b"heard"


RETURNED = """
import os, sys
sys.path.insert(0, {top!r})
from relayd.master import handover
os.write(1, handover.found(os.environ))
"""


def test_code_gets_back_all_that_it_left_to_one_that_knew_less() -> None:
    """With the reason, in bounded length since it will be a line; descriptors that came through stay open."""
    written = json.loads(msgspec.json.encode(state(*range(20, 26))))
    written |= {"moon": "full", "command": [sys.executable, "-c", RETURNED.format(top=TOP)]}
    reading, writing = os.pipe()
    unknown = os.memfd_create("test")
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(unknown, True)
        os.dup2(writing, 1)
        written["tide"] = unknown
        handover.go_back(json.dumps(written).encode(), "x" * 5000)
    os.close(writing)
    with open(reading, "rb") as said:
        found = json.loads(said.read())
    assert os.waitpid(pid, 0) == (pid, 0)
    assert found == {**written, "tide": unknown, "failure": "x" * 2000}


def test_who_has_come_back_already_or_cannot_gets_the_reason_of_the_end() -> None:
    """Once is enough: code that fails with what was its own would go round for ever."""
    back = json.dumps({"command": ["/no/such/python"], "failure": "it chokes"}).encode()
    assert handover.go_back(back, "again") == "again"
    gone = json.dumps({"command": ["/no/such/python"], "failure": ""}).encode()
    said = handover.go_back(gone, "no air")
    assert said == "no air; and going back to /no/such/python: No such file or directory"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Traceback (most recent call last):\n  File …\nImportError: no\n\n", "ImportError: no"),
        ("", "exit status 1"),
        ("\n \n", "exit status 1"),
        ("x" * 5000, "x" * 2000),
    ],
)
def test_the_last_line_is_the_reason(said: str, expected: str) -> None:
    """Where a traceback has it, and where our own complaints stand."""
    assert handover.last_words(said, "exit status 1") == expected


def test_its_own_command_executes_this_code_in_isolation() -> None:
    """The interpreter that runs now; nothing of the environment chooses what is imported."""
    interpreter, *words = handover.own_command()
    assert interpreter == sys.executable
    assert words[0] == "-I"
    assert words[-2:] == ["-m", "relayd.cli.adopt"]
