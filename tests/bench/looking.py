"""Looking on: the system calls and the memory of a server during one more run, which is not timed.

perf counts system calls at nearly full speed; where it is not installed or not allowed, strace does, which makes
each some ten times as slow. Both attach to what runs already and follow what that starts. Where neither works,
those figures are missing.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.family import Family

_PERIOD = 0.05
_ATTACH_SECONDS = 15.0
_DETACH_SECONDS = 30.0
_SYNCS = ("fsync", "fdatasync", "syncfs", "sync")
# One for each file, also where the kernel syncs many for one call.
_SYNCED = "ext4:ext4_sync_file_enter"
_EVERY = "raw_syscalls:sys_enter"
_EVENTS = (_EVERY, *(f"syscalls:sys_enter_{name}" for name in _SYNCS))
# "% time     seconds  usecs/call     calls    errors syscall"
_ROW = re.compile(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*")


class Calls(NamedTuple):
    """How many, and how many of them wait for the medium."""

    all: int
    syncs: int


def calls(members: Family, work: Callable[[], object], folder: Path) -> Calls | None:
    """How many system calls were made during some work; None where that cannot be seen.

    A server may hand many files to one call (io_submit). So what counts as a sync is, where the file system of
    `folder` tells, each file that it was asked to sync, whoever asked and however.
    """
    device = os.stat(folder).st_dev
    number = os.major(device) << 20 | os.minor(device)
    arguments = ["-a", "-e", _SYNCED, "--filter", f"dev == {number}"]
    with _perf(arguments) as synced:
        counted = _by_perf(members, work) or _by_strace(members, work)
    found = None if synced is None else perf_count(synced(), _SYNCED)
    return counted if counted is None or found is None else counted._replace(syncs=found)


def _by_perf(members: Family, work: Callable[[], object]) -> Calls | None:
    with _perf(["-e", ",".join(_EVENTS), "-p", ",".join(map(str, members.pids()))]) as found:
        if found is None:
            return None
        work()
    return perf_counts(found())


@contextmanager
def _perf(arguments: Sequence[str]) -> Iterator[Callable[[], str] | None]:
    """Count meanwhile, from the moment when perf has said that it does; the text is there afterwards.

    None where perf cannot.
    """
    if shutil.which("perf") is None:
        yield None
        return
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory() as folder, ours:
        file = Path(folder) / "counts"
        control = f"fd:{theirs.fileno()},{theirs.fileno()}"
        text = ""
        with subprocess.Popen(
            ["perf", "stat", "-x", ",", "-o", str(file), "-D", "-1", "--control", control, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        ) as perf:
            theirs.close()
            try:
                yield (lambda: text) if _is_enabled(ours) else None
            finally:
                _end(perf)
                text = file.read_text() if file.exists() else ""


def _is_enabled(perf: socket.socket) -> bool:
    perf.settimeout(_ATTACH_SECONDS)
    try:
        perf.sendall(b"enable\n")
        return perf.recv(100).startswith(b"ack")
    except OSError:
        return False


def _by_strace(members: Family, work: Callable[[], object]) -> Calls | None:
    if shutil.which("strace") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls"
        pids = members.pids()
        command = ["strace", "-f", "-c", "-o", str(file), *(word for pid in pids for word in ("-p", str(pid)))]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as strace:
            try:
                if not _wait_until_attached(strace, pids):
                    return None
                work()
            finally:
                _end(strace)
        return strace_counts(file.read_text()) if file.exists() else None


def perf_counts(text: str) -> Calls | None:
    """What `perf stat -x,` writes; None where it could not count everything."""
    every, *syncs = (perf_count(text, event) for event in _EVENTS)
    known = [count for count in syncs if count is not None]
    return None if every is None or len(known) < len(syncs) else Calls(every, sum(known))


def perf_count(text: str, event: str) -> int | None:
    """The count of one event in it; None where it could not be counted."""
    for line in text.splitlines():
        count, _, name, *_ = (*line.split(","), "", "")
        if name == event and count.isdigit():
            return int(count)
    return None


def strace_counts(text: str) -> Calls | None:
    """The table that `strace -c` writes."""
    rows = [row for row in map(_ROW.fullmatch, text.splitlines()) if row is not None and row[2] != "total"]
    if not rows:
        return None
    return Calls(sum(int(row[1]) for row in rows), sum(int(row[1]) for row in rows if row[2] in _SYNCS))


@contextmanager
def peak(members: Family) -> Iterator[list[int]]:
    """Look at the memory again and again while the context lasts; the list has the highest sum of PSS."""
    highest = [0]
    end = threading.Event()

    def look() -> None:
        while not end.is_set():
            highest[0] = max(highest[0], members.pss())
            end.wait(_PERIOD)

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        end.set()
        thread.join()


def _end(program: subprocess.Popen[bytes]) -> None:
    """Let it write what it has."""
    program.send_signal(signal.SIGINT)
    try:
        program.wait(_DETACH_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()


def _wait_until_attached(strace: subprocess.Popen[bytes], pids: list[int]) -> bool:
    deadline = time.monotonic() + _ATTACH_SECONDS
    while time.monotonic() < deadline and strace.poll() is None:
        if all(_is_traced(pid) for pid in pids):
            return True
        time.sleep(_PERIOD)
    return False


def _is_traced(pid: int) -> bool:
    """One that has ended meanwhile need not be waited for."""
    with contextlib.suppress(OSError):
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    return True
