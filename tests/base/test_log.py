"""The log: lines whole and in order, never in the way of mail, and nothing lost without being counted."""

import fcntl
import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relayd.base.events import ProcessReady
from relayd.base.line import read
from relayd.base.log import Later, Log
from relayd.base.sink import Sink

AT = datetime(2026, 7, 1, tzinfo=UTC)


def ready(role: str) -> ProcessReady:
    """An event that is told apart by its role."""
    return ProcessReady(role=role)


def to_file(path: Path, later: Later | None = None) -> Log:
    """A log of text lines in a file."""
    return Log("text", path, later=later, now=lambda: AT)


def roles(octets: bytes) -> list[str]:
    """The roles of the lines of a JSON log; raises when a line is torn."""
    assert not octets or octets.endswith(b"\n")
    return [json.loads(line)["role"] for line in octets.splitlines() if b'"process.ready"' in line]


def dropped(octets: bytes) -> int:
    """How many lines the log says it has given up."""
    return sum(json.loads(line)["lines"] for line in octets.splitlines() if b'"log.dropped"' in line)


class Pipe:
    """A pipe whose reader decides when it reads."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def read(self) -> bytes:
        """All that is in it now."""
        octets = b""
        try:
            while chunk := os.read(self.reading, 1 << 20):
                octets += chunk
        except BlockingIOError:
            pass
        return octets


@contextmanager
def limited(octets: int) -> Iterator[None]:
    """No file of this process may grow beyond this, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel's answer is a signal first, and Python's default for it is to ignore it.
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_a_loop_every_event_is_written_at_once(tmp_path: Path) -> None:
    """What the master says can be read as soon as it was said."""
    log = to_file(tmp_path / "log")
    log.write(ready("master"))
    assert (tmp_path / "log").read_text() == (
        f"2026-07-01T00:00:00.000Z relayd[{os.getpid()}] process.ready role=master\n"
    )


def test_the_events_of_one_turn_are_written_together(tmp_path: Path) -> None:
    """One call is scheduled for all of them, and the next turn schedules its own."""
    turns: list[Callable[[], None]] = []
    log = to_file(tmp_path / "log", lambda _, call: turns.append(call))
    for role in ("a", "b"):
        log.write(ready(role))
    assert (tmp_path / "log").read_text() == ""
    assert len(turns) == 1
    turns.pop()()
    assert (tmp_path / "log").read_text().count("\n") == 2
    log.write(ready("c"))
    assert len(turns) == 1


def test_a_line_says_when_it_happened_and_in_the_format_of_that_moment(tmp_path: Path) -> None:
    """Not when it was written, some milliseconds later and with others."""
    instants = iter(AT + timedelta(milliseconds=each) for each in range(3))
    log = Log("text", tmp_path / "log", later=lambda _, call: None, now=lambda: next(instants))
    log.write(ready("a"))
    log.write(ready("b"))
    log.speak("json")
    log.write(ready("c"))
    log.flush()
    lines = (tmp_path / "log").read_text().splitlines()
    found = [read(line) for line in lines]
    assert [(each.fields["role"], each.at - AT) for each in found if each is not None] == [
        (role, timedelta(milliseconds=number)) for number, role in enumerate("abc")
    ]
    assert [line.startswith("{") for line in lines] == [False, False, True]


def test_lines_are_written_at_once_and_where_there_are_many_in_groups(tmp_path: Path) -> None:
    """Whoever follows the log of a quiet relay sees each event as it happens; a busy one appends now and then."""
    now = 100.0
    calls: list[tuple[float, Callable[[], None]]] = []
    log = Log("text", tmp_path / "log", later=lambda *call: calls.append(call), now=lambda: AT, clock=lambda: now)
    for _ in range(21):
        log.write(ready("a"))
        seconds, flush = calls.pop()
        assert seconds == 0.0
        flush()
    now += 0.01
    for role in ("b", "c", "d"):
        log.write(ready(role))
    ((seconds, flush),) = calls
    assert 0.0 < seconds <= 0.05
    now += seconds
    flush()
    assert (tmp_path / "log").read_text().count("\n") == 24
    now += 1.0
    log.write(ready("e"))
    assert calls[-1][0] == 0.0


def test_a_full_pipe_neither_blocks_nor_tears_a_line() -> None:
    """What it cannot take waits in memory, in order, and goes out when there is room."""
    pipe = Pipe()
    log = Log("json", fd=pipe.writing)
    for number in range(1500):
        log.write(ready(f"{number} {'x' * 100}"))
    first = pipe.read()
    assert 0 < len(roles(first)) < 1500
    log.flush()
    octets = first
    while chunk := pipe.read():
        octets += chunk
        log.flush()
    assert [role.split()[0] for role in roles(octets)] == [str(number) for number in range(1500)]


def test_a_pipe_of_ours_stays_as_others_know_it() -> None:
    """Not waiting is a matter of this process: the descriptor it was given still blocks."""
    pipe = Pipe()
    Log("json", fd=pipe.writing).write(ready("a"))
    assert os.get_blocking(pipe.writing)


def test_a_pipe_that_cannot_be_opened_anew_does_not_block_either() -> None:
    """A socket as standard error, as under a service manager: it is asked before each write."""
    ours, theirs = socket.socketpair()
    log = Log("json", fd=ours.fileno())
    for number in range(3000):
        log.write(ready(f"{number} {'x' * 1000}"))
    theirs.setblocking(False)
    assert roles(theirs.recv(1 << 22).rpartition(b"\n")[0] + b"\n")[0].startswith("0 ")


def test_a_write_itself_does_not_wait_where_the_description_would() -> None:
    """That there was room a moment ago says little: another process may have taken it meanwhile."""
    ours, theirs = socket.socketpair()
    lines = b"x" * 999 + b"\n"
    pid = os.fork()
    if pid == 0:
        # Its default action ends the process, should the write wait.
        signal.alarm(10)
        left = Sink(None, ours.fileno()).write(lines * 8000)
        os._exit(0 if 0 < len(left) < len(lines) * 8000 else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.get_blocking(ours.fileno())
    assert theirs.recv(len(lines)) == lines


def test_writes_to_a_pipe_are_small_enough_to_stay_whole() -> None:
    """Lines of several processes stand beside each other, as the kernel promises up to PIPE_BUF."""
    pipe = Pipe()
    fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, 4096)
    turns: list[Callable[[], None]] = []
    log = Log("json", fd=pipe.writing, later=lambda _, call: turns.append(call))
    for number in range(100):
        log.write(ready(f"{number} {'x' * 500}"))
    octets = b""
    while True:
        log.flush()
        chunk = pipe.read()
        if not chunk:
            break
        # Each write was of whole lines.
        assert chunk.endswith(b"\n")
        octets += chunk
    assert len(roles(octets)) == 100


def test_the_oldest_lines_are_dropped_and_counted() -> None:
    """A mebibyte is kept; the event that counts the others is as well-formed as any."""
    pipe = Pipe()
    log = Log("json", fd=pipe.writing)
    for number in range(3000):
        log.write(ready(f"{number} {'x' * 1000}"))
    octets = b""
    log.flush()
    while chunk := pipe.read():
        octets += chunk
        log.flush()
    numbers = [int(role.split()[0]) for role in roles(octets)]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 2999
    assert len(numbers) + dropped(octets) == 3000
    assert dropped(octets) > 1500
    assert len(octets) < (1 << 20) + (1 << 17)


def test_what_one_turn_says_is_not_dropped_while_it_can_be_written(tmp_path: Path) -> None:
    """An operator moves a hundred thousand messages at once, and the log says each of them."""
    path = tmp_path / "log"
    turns: list[Callable[[], None]] = []
    log = Log("json", path, later=lambda _, call: turns.append(call))
    for number in range(20_000):
        log.write(ready(f"{number} {'x' * 100}"))
    assert len(turns) < 10
    log.flush()
    assert len(roles(path.read_bytes())) == 20_000
    assert dropped(path.read_bytes()) == 0


def test_a_line_whose_beginning_is_written_gets_its_end(tmp_path: Path) -> None:
    """A disk that is full in the middle of a line, and 2 MiB of lines before there is room again."""
    path = tmp_path / "log"
    log = Log("json", path)
    log.write(ready("first"))
    with limited(path.stat().st_size + 50):
        for number in range(2000):
            log.write(ready(f"{number} {'x' * 1000}"))
        assert not path.read_bytes().endswith(b"\n")
    log.flush()
    octets = path.read_bytes()
    numbers = [int(role.split()[0]) for role in roles(octets)[1:]]
    # The torn one, then the gap.
    assert numbers[0] == 0
    assert numbers[-1] == 1999
    assert len(numbers) + dropped(octets) == 2000


def test_two_processes_on_a_full_disk_tear_no_line_of_each_other(tmp_path: Path) -> None:
    """Each was torn once, in the other's way: what stands of the line is ended, and the line said again."""
    path = tmp_path / "log"
    first, second = Log("json", path), Log("json", path)
    first.write(ready("before"))
    with limited(path.stat().st_size + 50):
        first.write(ready("first" + "x" * 100))
        second.write(ready("second"))
        assert not path.read_bytes().endswith(b"\n")
    second.flush()
    with limited(path.stat().st_size + 20):
        first.flush()
        second.write(ready("third"))
    second.flush()
    first.flush()
    whole = [read(line) for line in path.read_text().split("\n")]
    assert [each.fields["role"][:6] for each in whole if each is not None] == [
        "before",
        "second",
        "third",
        "firstx",
    ]
    # What could not be ended, and no empty line beside it.
    assert path.read_text().count("\n") == 6


def test_a_torn_line_is_whole_in_the_file_that_comes_next(tmp_path: Path) -> None:
    """Logrotate comes while the disk is full: the rest of a line would be no line in the new file."""
    path = tmp_path / "log"
    log = Log("json", path)
    log.write(ready("before"))
    with limited(path.stat().st_size + 50):
        log.write(ready("torn"))
        path.rename(tmp_path / "log.1")
        log.reopen()
    log.flush()
    assert roles(path.read_bytes()) == ["torn"]


def test_a_child_does_not_end_the_line_that_its_parent_has_begun(tmp_path: Path) -> None:
    """It says its own on a line of its own."""
    path = tmp_path / "log"
    log = Log("json", path)
    log.write(ready("before"))
    with limited(path.stat().st_size + 50):
        log.write(ready("torn"))
    pid = os.fork()
    if pid == 0:
        log.adopt(None)
        log.write(ready("child"))
        os._exit(0)
    os.waitpid(pid, 0)
    log.flush()
    assert [each.fields["role"] for line in path.read_text().split("\n") if (each := read(line))] == [
        "before",
        "child",
        "torn",
    ]


def test_what_took_the_place_of_the_log_is_not_written_to(tmp_path: Path) -> None:
    """A FIFO with a reader, or a folder, when the file is opened anew: the old one stays."""
    path = tmp_path / "log"
    log = Log("json", path)
    path.rename(tmp_path / "old")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="not a regular file"):
        log.reopen()
    os.close(reader)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        log.reopen()
    log.write(ready("a"))
    assert roles((tmp_path / "old").read_bytes()) == ["a"]


def test_a_device_is_written_to() -> None:
    """Who wants no log names /dev/null."""
    Log("json", Path("/dev/null")).write(ready("a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes files of other users")
def test_a_file_of_another_user_is_not_written_to(tmp_path: Path) -> None:
    """Whoever owns it would read and change what the relay says; root, who made it, may."""
    path, users = tmp_path / "log", (65534, 12345)
    path.touch()
    path.chmod(0o666)
    tmp_path.chmod(0o777)
    os.chown(path, users[1], users[1])
    pid = os.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.setresuid(users[0], users[0], users[0])
        try:
            Log("json", Path("log"))
        except PermissionError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_log_that_is_closed_does_not_stop_anything() -> None:
    """A pipe whose reader has gone, and a descriptor that is none any more."""
    pipe = Pipe()
    log = Log("json", fd=pipe.writing)
    os.close(pipe.reading)
    log.write(ready("a"))
    log.flush()


def test_lines_go_to_the_new_file_once_it_is_reopened(tmp_path: Path) -> None:
    """As logrotate wants it: move, tell, and the old file is complete."""
    path = tmp_path / "log"
    turns: list[Callable[[], None]] = []
    log = Log("json", path, later=lambda _, call: turns.append(call))
    log.write(ready("before"))
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.write(ready("after"))
    log.flush()
    assert roles((tmp_path / "log.1").read_bytes()) == ["before"]
    assert roles(path.read_bytes()) == ["after"]


def test_a_file_that_cannot_be_reopened_leaves_the_old_one(tmp_path: Path) -> None:
    """The error is the caller's to tell; the log goes on."""
    path = tmp_path / "folder" / "log"
    path.parent.mkdir()
    log = Log("json", path)
    path.parent.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        log.reopen()
    log.write(ready("a"))
    assert roles((tmp_path / "moved" / "log").read_bytes()) == ["a"]


def test_reopening_standard_error_is_nothing(tmp_path: Path) -> None:
    """There is no file to move."""
    pipe = Pipe()
    log = Log("json", fd=pipe.writing)
    log.reopen()
    log.write(ready("a"))
    assert roles(pipe.read()) == ["a"]


def test_a_log_file_is_not_followed_through_a_link(tmp_path: Path) -> None:
    """Nor is a FIFO waited for."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(OSError):  # noqa: PT011
            Log("json", tmp_path / name)


def test_a_child_writes_under_its_own_pid_and_not_its_parents_lines(tmp_path: Path) -> None:
    """What waited at the fork is the parent's to write."""
    path = tmp_path / "log"
    turns: list[Callable[[], None]] = []
    log = Log("json", path, later=lambda _, call: turns.append(call))
    log.write(ready("parent"))
    pid = os.fork()
    if pid == 0:
        log.adopt(None)
        log.write(ready("child"))
        os._exit(0)
    os.waitpid(pid, 0)
    log.flush()
    written = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(each["role"], each["pid"]) for each in written] == [("child", pid), ("parent", os.getpid())]


def test_adopting_in_the_same_process_loses_nothing(tmp_path: Path) -> None:
    """A loop that has ended leaves its last lines to the next flush."""
    path = tmp_path / "log"
    turns: list[Callable[[], None]] = []
    log = Log("json", path, later=lambda _, call: turns.append(call))
    log.write(ready("a"))
    log.adopt(None)
    log.write(ready("b"))
    assert roles(path.read_bytes()) == ["a", "b"]
