"""A nursery: one Python that has read the code of all commands, and forks a process for each that is asked for.

The process has the words, the environment, the folder and the standard three descriptors that one of
`python -I -m relayd` would have, and nothing else of who asks; only Python's own start and the reading of the code
are spared, which were most of what live tests cost. One nursery serves a process that runs tests, and ends with
it. Nothing on this side imports relayd. A nursery that has died is an AssertionError.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

_LONGEST_REQUEST = 1 << 20
_ENDING_SECONDS = 30.0


class _Request(NamedTuple):
    words: list[str]
    environment: dict[str, str]
    folder: str
    uid: int | None


def carried_out(
    words: Sequence[str],
    typed: bytes = b"",
    *,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    uid: int | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[bytes]:
    """Carry out a command to its end; `typed` is its standard input. TimeoutError when it takes longer.

    The folder is that of whoever asks, and so is the user, where none is given.
    """
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        source.write(typed)
        source.seek(0)
        reading, writing = os.pipe()
        with open(reading, "rb") as ended:
            request = _Request(list(words), dict(environment), str(folder or Path.cwd()), uid)
            given = [source.fileno(), output.fileno(), errors.fileno(), writing]
            try:
                socket.send_fds(_asking(), [json.dumps(request).encode()], given)
            except OSError as error:
                raise AssertionError(f"the nursery has died: {error}") from None
            finally:
                os.close(writing)
            if not is_readable(ended.fileno(), timeout):
                raise TimeoutError(f"{words} takes longer than {timeout} s")
            status = ended.read()
        assert status, "the nursery has died"
        said = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in (output, errors)]
        return subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(int(status)), *said)


def is_readable(fd: int, timeout: float) -> bool:
    """Whether something is to be read in time; not by `select`, which knows a thousand descriptors."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(timeout * 1000))


@functools.cache
def _asking() -> socket.socket:
    """Where requests go: each is one message, so that threads need not take turns."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-I", __file__, str(theirs.fileno())]
        made = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def end() -> None:
        ours.close()
        made.wait(_ENDING_SECONDS)

    atexit.register(end)
    return ours


# What follows is the nursery's side.


def _serve(asked: socket.socket) -> None:
    """Until nobody can ask any more."""
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    # Whoever interrupts the tests ends them, and this with them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell(waiting)
        if asked in ready:
            said, given, _, _ = socket.recv_fds(asked, _LONGEST_REQUEST, 4)
            if not said:
                return
            *standard, told = given
            pid = os.fork()
            if pid == 0:
                for each in (asked, woken, waker):
                    each.close()
                for fd in (told, *waiting.values()):
                    os.close(fd)
                _be(_Request(*json.loads(said)), standard)
            for fd in standard:
                os.close(fd)
            waiting[pid] = told


def _tell(waiting: dict[int, int]) -> None:
    """To whoever asked for those that have ended."""
    for pid in list(waiting):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            told = waiting.pop(pid)
            # Who asked may have lost patience.
            with contextlib.suppress(BrokenPipeError):
                os.write(told, str(status).encode())
            os.close(told)


def _be(request: _Request, standard: list[int]) -> NoReturn:
    """Be the command, in the process that was forked for it."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
            os.close(fd)
        if request.uid is not None:
            os.setresuid(request.uid, request.uid, request.uid)
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        status = _command(request.words)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _command(words: list[str]) -> int:
    # Of the nursery's Python alone.
    from relayd.cli import main

    try:
        return main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1


def _read() -> None:
    """Have here what the commands are made of."""
    commands = importlib.import_module("relayd.cli")
    for module in pkgutil.walk_packages(commands.__path__, f"{commands.__name__}."):
        if module.name.rpartition(".")[2] != "adopt":
            importlib.import_module(module.name)
    # What is shared stays shared only while nobody writes to it: the collector would.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _read()
    _serve(socket.socket(fileno=int(sys.argv[1])))
