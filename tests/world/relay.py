"""The relay under test: the real command in a folder of its own, from start to stop.

It is driven as an operator drives it, by commands; a nursery carries them out, where it does not matter to a test
that Python starts for each. Nothing here imports relayd. As root the relay runs as nobody. A wait that takes too
long raises TimeoutError with the log; what was started is ended, by pid.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from .nursery import carried_out, is_readable

USER = "nobody" if os.geteuid() == 0 else ""

_STEP = 0.02
_COMMAND_SECONDS = 60.0
_WAIT_SECONDS = 30.0
_DEATH_SECONDS = 5.0


class Relay:
    """One configuration and its spool; `port` is set while it runs."""

    # Whether Python starts for each command, as it does for an operator; else the nursery has read the same code.
    # Tests have the nursery (tests/conftest.py), benchmarks and what measures do not.
    starts_python = True

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.config = folder / "relayd.toml"
        self.spool = folder / "spool"
        self.log_file = folder / "spool" / "relayd.log"
        self.config.write_text(settings)
        self.port = 0
        # The folder of the pid file, where that is not the spool.
        self.run: Path | None = None
        # What runs the command; a test may have other code.
        self.python = sys.executable
        self.seen: dict[int, psutil.Process] = {}
        self._log = _Log()

    def command(self, *words: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `relayd WORDS -c CONFIG` to its end; `typed` is its standard input."""
        asked, environment = [*words, "-c", str(self.config)], {**os.environ, **environment}
        if self.python == sys.executable and not self.starts_python:
            done = carried_out(asked, typed.encode(), environment=environment, timeout=_COMMAND_SECONDS)
            said = done.stdout.decode(), done.stderr.decode()
            return subprocess.CompletedProcess(done.args, done.returncode, *said)
        return subprocess.run(
            [self.python, "-I", "-m", "relayd", *asked],
            check=False,
            input=typed,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            env=environment,
        )

    def start(self, *words: str, **environment: str) -> None:
        """Start it; AssertionError with what it said when it does not."""
        started = self.command("start", *words, **environment)
        assert started.returncode == 0, f"{started.stdout}{started.stderr}{self.log_text()}"
        self.port = int(self.report()["listening"][0]["place"].rpartition(":")[2])
        self.pids()

    def stop(self) -> None:
        """Stop it; AssertionError when it does not."""
        stopped = self.command("stop")
        assert stopped.returncode == 0, f"{stopped.stdout}{stopped.stderr}{self.log_text()}"

    def leave(self) -> None:
        """Have it stop, and wait until it has, as `stop` does; AssertionError when it does not.

        For what is not about the command, which would start a Python for it.
        """
        master = os.pidfd_open(self.pids("master")[0])
        try:
            self._ask("stop")
            assert is_readable(master, _WAIT_SECONDS), f"it does not end; {self.log_text()}"
        finally:
            os.close(master)

    def status(self) -> dict[str, Any]:
        """What `status --json` says; AssertionError when it does not run."""
        said = self.command("status", "--json")
        assert said.returncode == 0, said.stderr
        found: dict[str, Any] = json.loads(said.stdout)
        return found

    def report(self) -> dict[str, Any]:
        """What the master says to `status`, and nothing of the spool; AssertionError when it does not run.

        Asked at its socket, not by a command: to start Python for each look would keep a core busy.
        """
        return self._ask("status")

    def _ask(self, request: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_WAIT_SECONDS)
            try:
                asking.connect(str((self.run or self.spool) / "relayd.sock"))
                asking.sendall(json.dumps({"ask": request}).encode())
                said = b"".join(iter(lambda: asking.recv(1 << 20), b""))
            except OSError as error:
                raise AssertionError(f"relayd does not answer: {error}") from None
        assert said, "relayd has ended"
        found: dict[str, Any] = json.loads(said)
        return found

    def queue(self) -> list[dict[str, Any]]:
        """What `queue list --json` says."""
        said = self.command("queue", "list", "--json")
        assert said.returncode == 0, said.stderr
        found: list[dict[str, Any]] = json.loads(said.stdout)
        return found

    def pids(self, role: str = "") -> list[int]:
        """The pids of the processes whose role begins so."""
        found = {each["pid"]: each["role"] for each in self.report()["processes"] if each["pid"]}
        for pid in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.seen.setdefault(pid, psutil.Process(pid))
        return [pid for pid, name in found.items() if name.startswith(role)]

    def processes(self) -> list[psutil.Process]:
        """All processes, while it runs."""
        return [psutil.Process(pid) for pid in self.pids()]

    def kill(self, role: str) -> None:
        """SIGKILL to the processes whose role begins so; as a rule they are gone when this returns."""
        killed = []
        for pid in self.pids(role):
            with contextlib.suppress(psutil.NoSuchProcess):
                killed.append(psutil.Process(pid))
                killed[-1].kill()
        # A process that a disk holds up goes later.
        deadline = time.monotonic() + _DEATH_SECONDS
        while any(map(is_there, killed)) and time.monotonic() < deadline:
            time.sleep(_STEP)

    def replace(self, role: str) -> None:
        """Kill the processes whose role begins so, and wait until those started in their place are at work."""
        before = self.pids(role)
        self.kill(role)

        def are_replaced() -> bool:
            # Those that were killed are in the report until the master has seen it.
            found = [each for each in self.report()["processes"] if each["role"].startswith(role)]
            return found != [] and all(each["state"] == "running" and each["pid"] not in before for each in found)

        self.wait(are_replaced, f"a new {role}")

    def log_text(self) -> str:
        """The whole log."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The log's records, all or those of one event."""
        return [record for record in self._log.records(self.log_file) if not name or record["event"] == name]

    def wait_for_events(self, name: str, count: int = 1, timeout: float = _WAIT_SECONDS) -> list[dict[str, Any]]:
        """The records of an event, once there are so many."""
        self.wait(lambda: len(self.events(name)) >= count, f"{count} of {name}", timeout)
        return self.events(name)

    def files(self, *states: str) -> list[Path]:
        """The files in these folders of the spool."""
        return [path for state in states for path in sorted((self.spool / state).iterdir())]

    def wait_until_empty(self, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until no message and no journal is left in the spool."""
        self.wait(lambda: not self.files("tmp", "new", "cur", "journal"), "an empty spool", timeout)

    def wait(self, is_so: Callable[[], bool], what: str, timeout: float = _WAIT_SECONDS) -> None:
        """Look again and again until it is so."""
        deadline = time.monotonic() + timeout
        while not is_so():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no {what} within {timeout} s; the log:\n{self.log_text()[-5000:]}")
            time.sleep(_STEP)


class _Log:
    """What was read of a log already: who waits for an event looks often, and a log may be long."""

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []
        self._file: tuple[int, int] | None = None
        self._read = 0

    def records(self, path: Path) -> list[dict[str, Any]]:
        """All that are there; of another file than before, or of one that was cut, from its beginning."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            found = os.fstat(file.fileno())
            if self._file != (found.st_dev, found.st_ino) or found.st_size < self._read:
                self._records, self._file, self._read = [], (found.st_dev, found.st_ino), 0
            file.seek(self._read)
            # The last line may still be on its way.
            said, end, _ = file.read().rpartition(b"\n")
        self._read += len(said) + len(end)
        self._records += [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]
        return self._records


@contextmanager
def relay(settings: str = "", **sections: str) -> Iterator[Relay]:
    """A relay that is not started yet, ended and taken away afterwards.

    `settings` come first in the file; `sections` are the lines of the tables "process", "delivery" and so on,
    added to what every test needs: a free loopback port, two workers, a JSON log.
    """
    lines: dict[str, str] = {"process": "workers = 2", "spool": "minimum_free = 0", "log": 'format = "json"'}
    if USER:
        lines["process"] += f'\nuser = "{USER}"'
    for name, text in sections.items():
        lines[name] = f"{lines.get(name, '')}\n{text}"
    if "[[listener]]" not in settings:
        settings += '\n[[listener]]\naddress = "127.0.0.1"\nport = 0\n'
    lines["spool"] += '\ndirectory = "spool"'
    text = 'hostname = "relay.example.org"\n' + settings
    text += "".join(f"[{name}]\n{body}\n" for name, body in lines.items())
    # Not pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="relayd-test-"))
    folder.chmod(0o755)
    try:
        made = Relay(folder, text)
        made.spool.mkdir()
        if USER:
            shutil.chown(made.spool, USER)
        try:
            yield made
        finally:
            end(made)
    finally:
        shutil.rmtree(folder)


def end(running: Relay) -> None:
    """Stop it, and kill what a test has left."""
    with contextlib.suppress(AssertionError):
        running.pids()
    # Most tests have stopped it.
    if any(map(is_there, running.seen.values())):
        with contextlib.suppress(AssertionError, ProcessLookupError):
            running.leave()
    for process in running.seen.values():
        # psutil tells a process from another one that has its pid now.
        # One that has ended is not waited for: init takes its time to reap what is nobody's child.
        if is_there(process):
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(5)


def is_there(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
