"""Debian's supervisord runs the relay with etc/supervisord.conf as it is, in a copy of the checkout."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.network import free_port
from tests.world.relay import Relay, is_there, relay

TOP = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("supervisord") is None, reason="supervisord is missing")


@contextmanager
def supervised() -> Iterator[tuple[Relay, subprocess.Popen[bytes]]]:
    """A checkout's etc/ and bin/ in a folder, with a configuration and no need of a virtual environment."""
    port = free_port()
    with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
        for folder in ("bin", "etc"):
            shutil.copytree(TOP / folder, running.folder / folder)
        settings = running.config.read_text().replace('directory = "spool"', 'directory = "../spool"')
        running.config = running.folder / "etc" / "relayd.toml"
        running.config.write_text(settings)
        # The command's own checks (that .venv is right) are tests/test_bootstrap.py's; here they would build one.
        command = running.folder / "bin" / "relayd"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m relayd "$@" -c {running.config}\n')
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


def control(running: Relay, *words: str) -> str:
    """What supervisorctl says."""
    config = running.folder / "etc" / "supervisord.conf"
    said = subprocess.run(
        ["supervisorctl", "-c", str(config), *words], check=False, capture_output=True, text=True, timeout=60
    )
    return said.stdout


def test_supervisord_starts_restarts_and_stops_it() -> None:
    """RUNNING after startsecs; killed, it is there again; stopped, nothing is left and nothing restarts it."""
    with supervised() as (running, _):
        running.wait(lambda: "RUNNING" in control(running, "status", "relayd"), "RUNNING", 30)
        (first,) = running.pids("master")
        os.kill(first, signal.SIGKILL)
        running.wait(lambda: running.command("status").returncode == 0, "restart", 30)
        running.wait(lambda: running.pids("master") not in ([], [first]), "new master", 30)
        processes = running.processes()
        assert "stopped" in control(running, "stop", "relayd")
        assert not any(is_there(process) for process in processes)
        assert "STOPPED" in control(running, "status", "relayd")


def test_relayd_stop_is_not_undone_by_supervisord() -> None:
    """`relayd stop` ends it with 0, and exitcodes = 0 means that it stays down."""
    with supervised() as (running, _):
        running.wait(lambda: "RUNNING" in control(running, "status", "relayd"), "RUNNING", 30)
        running.stop()
        running.wait(lambda: "EXITED" in control(running, "status", "relayd"), "EXITED", 10)
        assert running.command("status").returncode == 3
