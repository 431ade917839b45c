"""Tracing: a forked process under strace, which lists its system calls, kills it at one, or lets one fail.

A kill comes as the call begins, so the call is not done: what stands after the call before is all there is. Calls
are counted from the moment at which the process is told to go. Refuses to know what the process does.
"""

import ctypes
import gc
import os
import re
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Whatever takes a file name or a descriptor, alone or many at once, but for `read`: the process waits in one when
# strace comes.
_CALLS = "%file,%desc,io_submit,io_getevents"
_WAITING = "read"
_LINE = re.compile(r"([a-z_0-9]+)\(")
# Where only an ancestor may look on (Yama), a process can let others.
_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
# A process that does not end is ended, and shows by its status.
_SECONDS = 60


@dataclass(frozen=True)
class Call:
    """The `number`th call of this name; `line` is how strace shows it."""

    name: str
    number: int
    line: str


@dataclass(frozen=True)
class Ended:
    """How a process ended: `status` as waitpid gives it, what strace wrote, and the error that ended it."""

    status: int
    trace: str = ""
    raised: str = ""

    @property
    def is_injected(self) -> bool:
        """Whether strace did what it was there for."""
        return "(INJECTED)" in self.trace or "+++ killed by SIGKILL +++" in self.trace

    def calls(self) -> list[Call]:
        """All calls that were seen, in their order."""
        numbers: Counter[str] = Counter()
        calls = []
        for line in self.trace.splitlines():
            found = _LINE.match(line)
            if found is not None and found[1] != _WAITING:
                numbers[found[1]] += 1
                calls.append(Call(found[1], numbers[found[1]], line))
        return calls


def missing() -> str:
    """Why nothing can be traced here, or an empty string."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with tempfile.TemporaryDirectory() as folder:
        try:
            ended = traced(lambda: lambda: os.close(os.open(os.devnull, os.O_RDONLY)), Path(folder), None)
        except (AssertionError, OSError) as error:
            return f"strace may not look at a process here: {error}"
        return "" if ended.calls() else "strace sees nothing here"


def forked(work: Callable[[], None], folder: Path) -> Ended:
    """Do it in a process of its own and wait for the end."""
    raised = folder / "raised"
    raised.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _run(work, raised)
    return _ended(os.waitpid(pid, 0)[1], folder)


def traced(prepare: Callable[[], Callable[[], None]], folder: Path, call: Call | None, what: str = "") -> Ended:
    """Prepare unobserved, then work under strace, which does `what` (`signal=`, `error=`) at a call."""
    for left in ("trace", "raised"):
        (folder / left).unlink(missing_ok=True)
    ready, prepared = os.pipe()
    going, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        # So that the process ends when the tests do.
        os.close(go)

        def work() -> None:
            observed = prepare()
            # No collection at a moment that differs from run to run.
            gc.freeze()
            gc.disable()
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
            os.write(prepared, b".")
            if os.read(going, 1):
                observed()

        _run(work, folder / "raised")
    os.close(prepared)
    os.close(going)
    try:
        if not os.read(ready, 1):
            return _ended(os.waitpid(pid, 0)[1], folder)
        arguments = ["-e", f"trace={_CALLS}"]
        if call is not None:
            arguments = ["-e", f"trace={call.name}", "-e", f"inject={call.name}:{what}:when={call.number}"]
        trace = _attach(pid, folder / "trace", arguments)
        os.write(go, b".")
        status = os.waitpid(pid, 0)[1]
        trace.communicate()
        return _ended(status, folder)
    finally:
        os.close(ready)
        os.close(go)


def _attach(pid: int, output: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    trace = subprocess.Popen(
        ["strace", "-y", "-s", "16", "-o", output, "-p", str(pid), *arguments], stderr=subprocess.PIPE
    )
    assert trace.stderr is not None
    said = trace.stderr.readline()
    assert b"attached" in said, said
    return trace


def _ended(status: int, folder: Path) -> Ended:
    trace, raised = (
        path.read_text(errors="replace") if path.exists() else "" for path in (folder / "trace", folder / "raised")
    )
    return Ended(status, trace, raised)


def _run(work: Callable[[], None], raised: Path) -> None:
    """Never returns: the process ends with the work."""
    try:
        signal.alarm(_SECONDS)
        work()
        os._exit(0)
    except BaseException:
        raised.write_text(traceback.format_exc())
    finally:
        os._exit(1)
