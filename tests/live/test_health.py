"""`status --check` on a relay that runs: well, and with each thing that can be wrong."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from relayd.cli import main
from tests.live.test_delivery import ZONE, delivering, send
from tests.world.exchanger import Exchanger
from tests.world.network import free_port
from tests.world.relay import Relay, relay


def checked(running: Relay) -> tuple[int, str]:
    """Exit status and line."""
    said = running.command("status", "--check")
    assert said.stderr == ""
    assert len(said.stdout.splitlines()) == 1
    return said.returncode, said.stdout.rstrip("\n")


def wait_for(running: Relay, status: int, words: str) -> None:
    """Wait until the check says so.

    Asked in this process until then: to start Python for each look would keep a core busy.
    """

    def is_said() -> bool:
        with io.StringIO() as said, contextlib.redirect_stdout(said):
            return main(["status", "--check", "-c", str(running.config)]) == status and words in said.getvalue()

    running.wait(is_said, words)


@contextmanager
def with_exchanger(**settings: str) -> Iterator[tuple[Relay, Exchanger]]:
    """A relay and where its mail goes."""
    port = free_port("127.0.0.2")
    with Exchanger("127.0.0.2", port) as exchanger, delivering(ZONE, port, **settings) as running:
        yield running, exchanger


def test_a_relay_that_runs_is_well() -> None:
    """0 and one line, 3 when it does not run; and the same as JSON."""
    with relay() as running:
        assert checked(running) == (3, "relayd is not running")
        running.start()
        assert checked(running) == (0, "all is well")
        said = json.loads(running.command("status", "--check", "--json").stdout)
        assert said == {"running": True, "healthy": True, "found": []}
        running.stop()
        assert checked(running)[0] == 3


def test_a_process_that_died_is_missed_and_too_many_restarts_are_said() -> None:
    """With the reason and when it starts again; well again after that, but for the number of restarts."""
    with relay(health="restarts = 1") as running:
        running.start()
        running.kill("worker 2")
        wait_for(running, 1, "worker 2 is missing: it died (signal SIGKILL) and starts again in ")
        wait_for(running, 0, "all is well")
        running.kill("delivery")
        wait_for(running, 1, "processes were restarted 2 times in the last ")
        running.kill("worker 2")
        wait_for(running, 1, "worker 2 is missing: it died 2 times in a row (signal SIGKILL) and starts again in ")


def test_a_master_that_hangs_is_told_from_one_that_is_not_there() -> None:
    """1 in bounded time, and not 3: somebody has to look at it."""
    with relay() as running:
        running.start()
        (master,) = running.pids("master")
        os.kill(master, signal.SIGSTOP)
        try:
            assert checked(running) == (1, f"the master (pid {master}) does not answer: its log may say why")
        finally:
            os.kill(master, signal.SIGCONT)
        assert checked(running)[0] == 0


def test_sigusr2_ends_no_process() -> None:
    """What other servers upgrade by: children only say where they are, to nobody."""
    with relay() as running:
        running.start()
        before = running.pids()
        for pid in before * 3:
            os.kill(pid, signal.SIGUSR2)
        assert checked(running) == (0, "all is well")
        assert running.pids() == before


def test_files_in_failed_and_a_disk_near_its_floor_are_told() -> None:
    """Both in one line, whatever mail does."""
    with relay() as running:
        running.start()
        (running.spool / "new" / "no-name-of-ours").write_text("nonsense")
        wait_for(running, 1, "failed/ is not empty: 1 file for a person to look at, ")
        text = running.config.read_text().replace("minimum_free = 0", 'minimum_free = "900000 GB"')
        running.config.write_text(text)
        found, line = checked(running)
        assert found == 1
        assert line.startswith("the spool's disk is nearly full: ")
        assert "900000.0 GB must stay free (spool.minimum_free); failed/ is not empty: 1 file " in line
        said = running.command("status").stdout
        assert all(f"\nwrong: {each}" in said for each in ("the spool's disk is nearly full: ", "failed/ is "))


def test_a_message_that_is_due_and_does_not_go_is_overdue() -> None:
    """Its exchanger says nothing. On hold it is not due, nor while everything is paused."""
    with with_exchanger(health='overdue = "1s"') as (running, exchanger):
        exchanger.replies["CONNECT"] = b""
        send(running, 1)
        wait_for(running, 1, "the oldest due message has been due for ")
        assert running.command("queue", "pause").returncode == 0
        assert checked(running) == (0, "all is well")
        assert running.command("queue", "resume").returncode == 0
        wait_for(running, 1, "the oldest due message has been due for ")
        assert running.command("queue", "hold", "--all").returncode == 0
        wait_for(running, 0, "all is well")


def test_a_domain_that_is_paused_makes_nothing_overdue() -> None:
    """Its messages are looked at again and again, and put off each time."""
    with with_exchanger(health='overdue = "10s"') as (running, _):
        assert running.command("queue", "pause", "example.test").returncode == 0
        send(running, 1)
        running.wait(lambda: len(running.files("cur")) == 1, "a message that was put off")
        assert checked(running) == (0, "all is well")


def test_when_every_delivery_of_late_failed_it_is_said_until_one_succeeds() -> None:
    """Not of one message alone, which may be greylisted; a success in the same window is enough."""
    with with_exchanger(delivery='retry = ["1h"]') as (running, exchanger):
        exchanger.replies["MAIL"] = b"451 4.3.0 not now\r\n"
        send(running, 1)
        running.wait_for_events("delivery.deferred")
        assert checked(running) == (0, "all is well")
        send(running, 2)
        wait_for(running, 1, "every delivery of the last ")
        assert checked(running)[1].endswith(" failed: 3 attempts, see relayd queue list --by destination")
        exchanger.replies.clear()
        send(running, 1)
        wait_for(running, 0, "all is well")


def test_systemd_hears_from_the_foreground_what_it_waits_for() -> None:
    """READY with the pid, the state, RELOADING and READY again, WATCHDOG in time, STOPPING; as any user."""
    with relay() as running, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = running.folder / "notify"
        manager.bind(str(address))
        address.chmod(0o777)
        manager.settimeout(30)
        said: list[bytes] = []

        def hears(line: bytes) -> None:
            said.clear()
            while line not in said:
                said.extend(manager.recv(4096).split(b"\n"))

        command = [sys.executable, "-I", "-m", "relayd", "start", "--foreground", "-c", str(running.config)]
        environment = {**os.environ, "NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "2000000"}
        with open(running.log_file, "ab") as log, subprocess.Popen(command, stderr=log, env=environment) as master:
            hears(b"READY=1")
            assert f"MAINPID={master.pid}".encode() in said
            hears(b"STATUS=all is well")
            hears(b"WATCHDOG=1")
            hears(b"WATCHDOG=1")
            os.kill(master.pid, signal.SIGHUP)
            hears(b"RELOADING=1")
            assert any(each.startswith(b"MONOTONIC_USEC=") for each in said)
            hears(b"READY=1")
            master.terminate()
            hears(b"STOPPING=1")
            assert master.wait(30) == 0
