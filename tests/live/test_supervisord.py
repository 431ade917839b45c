"""Debian's supervisord runs the relay with etc/supervisord.conf as it is, in a copy of the checkout."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.code import code, is_possible
from tests.world.network import free_port
from tests.world.relay import Relay, is_there, relay

TOP = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("supervisord") is None, reason="supervisord is missing")


@contextmanager
def supervised(python: str = sys.executable) -> Iterator[tuple[Relay, subprocess.Popen[bytes]]]:
    """A checkout's etc/ and bin/ in a folder, with a configuration and no need of a virtual environment.

    `python` is the interpreter, whose relayd it runs.
    """
    port = free_port()
    with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
        for folder in ("bin", "etc"):
            shutil.copytree(TOP / folder, running.folder / folder)
        settings = running.config.read_text().replace('directory = "spool"', 'directory = "../spool"')
        running.config = running.folder / "etc" / "relayd.toml"
        running.config.write_text(settings)
        # The command's own checks (that .venv is right) are tests/test_bootstrap.py's; here they would build one.
        command = running.folder / "bin" / "relayd"
        command.write_text(f'#!/bin/sh\nexec {python} -I -m relayd "$@" -c {running.config}\n')
        supervisor = subprocess.Popen(
            ["supervisord", "-n", "-c", str(running.folder / "etc" / "supervisord.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            running.port = port
            yield running, supervisor
        finally:
            supervisor.terminate()
            supervisor.wait(60)


@contextmanager
def other_code() -> Iterator[Path]:
    """A folder for copies of the code, which the relay's user may enter."""
    with tempfile.TemporaryDirectory(prefix="relayd-code-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def control(running: Relay, *words: str) -> str:
    """What supervisorctl says."""
    config = running.folder / "etc" / "supervisord.conf"
    said = subprocess.run(
        ["supervisorctl", "-c", str(config), *words], check=False, capture_output=True, text=True, timeout=60
    )
    return said.stdout


def has_come(running: Relay) -> None:
    """Wait until the relay is RUNNING for supervisord.

    Seen in its log: to start supervisorctl for each look would keep a core busy.
    """
    log = running.folder / "spool" / "supervisord.log"
    words = "success: relayd entered RUNNING state"
    running.wait(lambda: log.exists() and words in log.read_text(), words, 30)
    assert "RUNNING" in control(running, "status", "relayd")


def answers(running: Relay) -> bool:
    """Whether it runs."""
    with contextlib.suppress(AssertionError):
        return bool(running.report())
    return False


def test_supervisord_starts_restarts_and_stops_it() -> None:
    """RUNNING after startsecs; killed, it is there again; stopped, nothing is left and nothing restarts it."""
    with supervised() as (running, _):
        has_come(running)
        (first,) = running.pids("master")
        os.kill(first, signal.SIGKILL)
        running.wait(lambda: answers(running) and running.pids("master") not in ([], [first]), "new master", 30)
        processes = running.processes()
        assert "stopped" in control(running, "stop", "relayd")
        assert not any(is_there(process) for process in processes)
        assert "STOPPED" in control(running, "status", "relayd")


@pytest.mark.long
def test_relayd_stop_is_not_undone_by_supervisord() -> None:
    """`relayd stop` ends it with 0, and exitcodes = 0 means that it stays down."""
    with supervised() as (running, _):
        has_come(running)
        running.stop()
        log = running.folder / "spool" / "supervisord.log"
        running.wait(lambda: "exited: relayd (exit status 0; expected)" in log.read_text(), "its end", 10)
        assert "EXITED" in control(running, "status", "relayd")
        assert running.command("status").returncode == 3


@pytest.mark.long
@pytest.mark.skipif(not is_possible(), reason="no Python that the relay's user can execute")
def test_an_upgrade_is_nothing_that_supervisord_sees() -> None:
    """The same pid, RUNNING since the same moment, the log in the same place; and it stops it as before."""
    with other_code() as folder:
        new = code(folder / "two", "2")
        with supervised(code(folder / "one", "1").python) as (running, _):
            running.python = new.python
            has_come(running)
            (before,) = running.pids("master")
            upgraded = running.command("upgrade")
            assert upgraded.returncode == 0, upgraded.stderr
            assert running.report()["version"] == "2"
            assert running.pids("master") == [before]
            assert f"RUNNING   pid {before}, uptime " in control(running, "status", "relayd")
            log = (running.folder / "spool" / "supervisord.log").read_text()
            assert log.count("spawned: 'relayd'") == 1
            assert "exited: relayd" not in log
            running.wait_for_events("process.started", 2)
            processes = running.processes()
            assert "stopped" in control(running, "stop", "relayd")
            assert not any(is_there(process) for process in processes)
