"""Service managers: what they pass to a relay that they start, and that none of them notices an upgrade."""

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.world.code import code, is_possible
from tests.world.network import free_port
from tests.world.relay import Relay, relay
from tests.world.upgrading import Session, lines, upgrade

_SECONDS = 20

pytestmark = pytest.mark.skipif(not is_possible(), reason="no Python that the relay's user can execute")

PASSING = """
import os, sys
for number, fd in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(fd, 100 + number)
for number in range(len(sys.argv[1].split(","))):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(sys.argv[1].split(",")))
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def listening(count: int) -> Iterator[list[socket.socket]]:
    """Sockets as a service manager binds them."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in made:
            each.bind(("127.0.0.1", 0))
            each.listen()
        yield made


def settings(ports: list[int]) -> str:
    """A listener for each port."""
    return "".join(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n' for port in ports)


def started(running: Relay, sockets: list[socket.socket], *words: str) -> list[str]:
    """The command line of a service manager that passes these sockets."""
    passed = ",".join(str(each.fileno()) for each in sockets)
    relayd = [running.python, "-I", "-m", "relayd", "start", *words, "-c", str(running.config)]
    return [sys.executable, "-I", "-c", PASSING, passed, *relayd]


@contextmanager
def foreground(running: Relay, command: list[str], fds: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    """A relay in the foreground that is started so, and ended by whatever means."""
    with open(running.log_file, "ab") as log, subprocess.Popen(command, stderr=log, pass_fds=fds) as master:
        try:
            running.wait(lambda: any(e["role"] == "master" for e in running.events("process.ready")), "start")
            yield master
        finally:
            master.kill()


def test_sockets_of_a_service_manager_serve_before_during_and_after_an_upgrade() -> None:
    """Nobody else binds them, and a client that connects while nothing runs yet is served."""
    with listening(2) as sockets:
        ports = [each.getsockname()[1] for each in sockets]
        fds = [each.fileno() for each in sockets]
        with relay(settings(ports)) as running:
            running.python = code(running.folder / "one", "1").python
            early = socket.create_connection(("127.0.0.1", ports[0]), _SECONDS)
            with early, foreground(running, started(running, sockets, "--foreground"), fds) as master:
                assert early.recv(512).startswith(b"220 ")
                assert running.pids("master") == [master.pid]
                said = upgrade(running, code(running.folder / "two", "2"))
                assert said.returncode == 0, said.stderr
                for port in ports:
                    Session(port).quit()
                running.wait_for_events("session.closed", 2)
                running.stop()
                assert master.wait(20) == 0


def test_sockets_that_do_not_fit_the_configuration_are_told() -> None:
    """Exit status 1 and one line with the place; in the background exit status 2."""
    with listening(2) as sockets:
        ports = [each.getsockname()[1] for each in sockets]
        fds = [each.fileno() for each in sockets]
        for configured, words, status, expected in (
            (ports[:1], ["--foreground"], 1, f"listens at 127.0.0.1:{ports[1]}, where no [[listener]] is"),
            ([*ports, 2], ["--foreground"], 1, "no socket was passed for the [[listener]] at 127.0.0.1:2;"),
            (ports, [], 2, "add --foreground"),
        ):
            with relay(settings(configured)) as running:
                said = subprocess.run(
                    started(running, sockets, *words),
                    check=False,
                    capture_output=True,
                    text=True,
                    timeout=30,
                    pass_fds=fds,
                )
                assert (said.returncode, lines(said)) == (status, 1), said.stderr
                assert expected in said.stderr
                assert not (running.spool / "relayd.pid").exists()


SUPERVISORD = """
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid

[program:relayd]
command = {python} -I -m relayd start --foreground -c {config}
stderr_logfile = {log}
"""


@pytest.mark.skipif(shutil.which("supervisord") is None, reason="supervisord is missing")
def test_supervisord_sees_nothing_of_an_upgrade() -> None:
    """It has started one process, which ends when it says so, and to its log alone everything goes."""
    with relay(settings([free_port()])) as running:
        running.python = code(running.folder / "one", "1").python
        places = {"folder": running.folder, "config": running.config, "log": running.log_file}
        file = running.folder / "supervisord.conf"
        file.write_text(SUPERVISORD.format(python=running.python, **places))
        said = running.folder / "supervisord.log"
        with subprocess.Popen(["supervisord", "-c", file], stdout=subprocess.DEVNULL) as supervisord:
            try:
                running.wait(lambda: any(e["role"] == "master" for e in running.events("process.ready")), "start")
                running.wait(lambda: "entered RUNNING" in said.read_text(), "RUNNING")
                before = said.read_text()
                (master,) = running.pids("master")
                told = upgrade(running, code(running.folder / "two", "2"))
                assert (told.returncode, told.stderr) == (0, "")
                assert running.pids("master") == [master]
                assert said.read_text() == before
                # A stop is its end for supervisord too, which starts nothing again.
                running.stop()
                expected = "exited: relayd (exit status 0; expected)\n"
                running.wait(lambda: said.read_text().endswith(expected), expected)
            finally:
                supervisord.terminate()
        assert said.read_text().count("spawned: 'relayd'") == 1
        versions = [e["version"] for e in running.events("process.started") if e["role"] == "master"]
        assert versions == ["1", "2"]
        assert running.events("process.retired")[-1]["role"] == "master"
