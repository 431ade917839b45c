"""The processes: what start, stop, status and check do and say, and what happens when a process dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relayd.base.scheduling import processors
from tests.world.network import free_port
from tests.world.relay import USER, Relay, is_there, relay

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")


def greeting(port: int) -> bytes:
    """What the port says first."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        return connection.recv(512)


def test_start_returns_when_the_port_answers_and_stop_leaves_nothing() -> None:
    """After start a 220; after stop no process, no pid file, no socket, nothing in tmp/."""
    with relay() as running:
        running.starts_python = True
        running.start()
        assert greeting(running.port).startswith(b"220 relay.example.org ESMTP relayd ")
        processes = running.processes()
        roles = [each["role"] for each in running.status()["processes"]]
        assert roles == ["master", "worker 1", "worker 2", "delivery"]
        assert [process.cmdline()[0] for process in processes] == [f"relayd: {role}" for role in roles]
        running.stop()
        assert not any(is_there(process) for process in processes)
        left = {path.name for path in running.spool.iterdir()}
        assert not left & {"relayd.pid", "relayd.sock"}
        assert running.files("tmp") == []


def test_what_carries_mail_interrupts_nobody_and_delivery_comes_second() -> None:
    """With all of their threads; also in a process that is started again. The master is as it was started."""
    with relay() as running:
        running.start()
        running.replace("delivery")
        (master,), (delivery,) = running.pids("master"), running.pids("delivery")
        nice = os.getpriority(os.PRIO_PROCESS, master)
        assert os.sched_getscheduler(master) == os.SCHED_OTHER
        expected = dict.fromkeys(running.pids("worker"), nice) | {delivery: min(19, nice + 5)}
        for pid, its_nice in expected.items():
            for thread in map(int, os.listdir(f"/proc/{pid}/task")):
                assert os.sched_getscheduler(thread) == os.SCHED_BATCH
                assert os.getpriority(os.PRIO_PROCESS, thread) == its_nice


@pytest.mark.skipif(processors() < 2, reason="this machine has one processor")
def test_each_worker_stays_on_a_processor_of_its_own() -> None:
    """With all of its threads, also one that is started again; the others go where they like, by a setting all."""
    everywhere = os.sched_getaffinity(0)
    with relay() as running:
        running.config.write_text(running.config.read_text().replace("workers = 2", f"workers = {processors()}"))
        running.start()
        running.replace("worker 1")
        workers = running.pids("worker")
        found = [[os.sched_getaffinity(int(each)) for each in os.listdir(f"/proc/{pid}/task")] for pid in workers]
        assert sorted(max(each) for threads in found for each in threads[:1]) == sorted(everywhere)
        assert all(len(each) == 1 and each == threads[0] for threads in found for each in threads)
        for pid in (*running.pids("master"), *running.pids("delivery")):
            assert os.sched_getaffinity(pid) == everywhere
        running.config.write_text(
            running.config.read_text().replace("[process]", "[process]\npin_workers = false")
        )
        assert running.command("reload").returncode == 0
        running.wait(
            lambda: all(os.sched_getaffinity(pid) == everywhere for pid in running.pids("worker")),
            "workers that go where they like",
        )


def test_status_says_what_is_running_and_ends_with_3_when_nothing_is() -> None:
    """Text for people, JSON for programs, and the exit status for scripts."""
    with relay() as running:
        running.starts_python = True
        stopped = running.command("status")
        assert stopped.returncode == 3
        assert stopped.stdout.startswith("relayd is not running")
        assert json.loads(running.command("status", "--json").stdout)["running"] is False
        running.start()
        said = running.command("status")
        assert said.returncode == 0
        for expected in ("is running", "worker 2", "delivery", "0 messages wait", "1 session,"):
            assert expected in said.stdout
        status = running.status()
        assert all(each["memory"] > 1_000_000 for each in status["processes"])
        empty = {"due": 0, "waiting": 0, "held": 0, "failed": 0, "paused": [], "oldest_due_s": None}
        assert status["spool"] == empty


def test_a_second_start_is_refused_with_the_pid_of_the_first() -> None:
    """One relay a spool; exit status 1 and one line."""
    with relay() as running:
        running.start()
        second = running.command("start")
        assert second.returncode == 1
        assert f"already running (pid {running.pids('master')[0]}" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        assert greeting(running.port).startswith(b"220")


def test_a_second_relay_on_the_same_spool_is_refused() -> None:
    """A pid file of its own, the same spool: exit status 1, and one line with the holder's pid."""
    with relay() as running:
        running.start()
        pid_file = running.folder / "spool" / "second.pid"
        text = running.config.read_text().replace("[process]", f'[process]\npid_file = "{pid_file}"')
        second = Relay(running.folder, running.config.read_text())
        second.config = running.folder / "second.toml"
        second.config.write_text(text)
        said = second.command("start")
        assert said.returncode == 1
        assert "another relayd uses" in said.stderr
        assert str(running.pids("delivery")[0]) in said.stderr
        assert len(said.stderr.splitlines()) == 1


def test_a_taken_port_is_named() -> None:
    """Exit status 1 and one line with address and port; nothing is left running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
            said = running.command("start")
            assert said.returncode == 1
            assert f"cannot listen at 127.0.0.1:{port}: the port is taken" in said.stderr
            assert len(said.stderr.splitlines()) == 1
            assert running.command("status").returncode == 3


def test_a_bad_configuration_is_one_line_and_2() -> None:
    """File, table, key, value and what is allowed, before anything is started."""
    with relay(session='timeout = "soon"') as running:
        for command in ("start", "check", "status", "stop"):
            said = running.command(command)
            assert said.returncode == 2
            assert said.stderr == (
                f'relayd: {running.config}: [session] timeout = "soon": not a duration; '
                'write a number and a unit: ms, s, m, h or d, like "5m"\n'
            )


@pytest.mark.parametrize("left", ["x", "{stranger}"])
def test_a_pid_file_of_another_program_is_never_believed(left: str) -> None:
    """An old file of a crash or a person: status says 3, stop signals nobody, start begins; more in test_stop."""
    with (
        relay() as running,
        subprocess.Popen([sys.executable, "-c", "input()", "relayd"], stdin=subprocess.PIPE) as stranger,
    ):
        pid_file = running.spool / "relayd.pid"
        pid_file.write_text(left.format(stranger=stranger.pid))
        # The stranger began after the file was written, as far as the file can tell.
        os.utime(pid_file, (1, 1))
        assert running.command("status").returncode == 3
        assert running.command("stop").returncode == 3
        assert stranger.poll() is None
        running.start()
        running.leave()
        assert stranger.poll() is None
        stranger.communicate(b"\n", 5)


@pytest.mark.parametrize("role", ["worker 1", "delivery"])
def test_a_child_that_dies_is_started_again(role: str) -> None:
    """Killed: another process takes its place, the log says so, and the relay goes on."""
    with relay() as running:
        running.start()
        (before,) = running.pids(role)
        os.kill(before, signal.SIGKILL)
        running.wait_for_events("process.died")
        running.wait(lambda: running.pids(role) not in ([], [before]), f"new {role}")
        died = running.events("process.died")[0]
        assert (died["role"], died["child"], died["reason"]) == (role, before, "signal SIGKILL")
        assert greeting(running.port).startswith(b"220")


def test_children_of_a_killed_master_leave_the_port_and_end() -> None:
    """No orphan keeps the port: a start right after the kill finds it free."""
    port = free_port()
    with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
        running.start()
        children = running.processes()[1:]
        running.kill("master")
        running.start()
        assert greeting(port).startswith(b"220")
        running.wait(lambda: not any(is_there(child) for child in children), "end of the orphans", 10)


def test_a_child_that_cannot_boot_stops_the_start() -> None:
    """The spool cannot be used: `start` fails with the reason instead of forking for ever."""
    with relay() as running:
        (running.spool / "journal").write_text("a file where a folder should be")
        said = running.command("start")
        assert said.returncode == 1
        assert "journal" in said.stderr
        assert len(said.stderr.splitlines()) == 1
        assert running.command("status").returncode == 3


def test_sigterm_ends_the_foreground_with_0_and_a_session_gets_421() -> None:
    """What supervisord does: the session that is open hears 421, and the exit status is 0."""
    with relay(process='stop_timeout = "2s"') as running:
        command = [sys.executable, "-I", "-m", "relayd", "start", "--foreground", "-c", str(running.config)]
        with open(running.log_file, "ab") as log, subprocess.Popen(command, stderr=log) as master:
            running.wait(lambda: any(e["role"] == "master" for e in running.events("process.ready")), "start")
            port = int(running.status()["listening"][0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                assert connection.recv(512).startswith(b"220")
                master.terminate()
                assert connection.recv(512).startswith(b"421 4.3.2 ")
                assert connection.recv(512) == b""
            assert master.wait(10) == 0


def test_logrotate_can_take_the_log_away() -> None:
    """SIGUSR1: every process writes to a new file."""
    with relay() as running:
        running.start()
        running.log_file.rename(running.spool / "relayd.log.1")
        os.kill(running.pids("master")[0], signal.SIGUSR1)
        running.wait(running.log_file.exists, "new log")
        greeting(running.port)
        running.wait_for_events("session.closed")


@as_root
def test_root_is_gone_in_every_process() -> None:
    """All four uids and gids, the groups, the capabilities; NoNewPrivs is set, and the umask is 077."""
    with relay() as running:
        running.start()
        for pid in running.pids():
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line
            )
            assert "0" not in status["Uid"].split()
            assert "0" not in status["Gid"].split()
            assert "0" not in status["Groups"].split()
            assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
            assert (status["NoNewPrivs"], status["Umask"]) == ("1", "0077")


@as_root
def test_root_with_a_spool_of_root_is_told_how_to_make_a_user() -> None:
    """Exit status 2 and one line with the command."""
    with relay() as running:
        running.config.write_text(running.config.read_text().replace(f'user = "{USER}"', ""))
        os.chown(running.spool, 0, 0)
        said = running.command("start")
        assert said.returncode == 2
        assert "useradd --system" in said.stderr
        assert len(said.stderr.splitlines()) == 1


@as_root
def test_without_a_user_in_the_configuration_root_becomes_the_owner_of_the_spool() -> None:
    """As `sudo bin/relayd start` on a fresh clone does."""
    with relay() as running:
        running.config.write_text(running.config.read_text().replace(f'user = "{USER}"', ""))
        running.start()
        assert running.status()["user"] == USER


@as_root
def test_an_unknown_user_is_named() -> None:
    """Exit status 2, the key, and the command that makes it."""
    with relay() as running:
        running.config.write_text(running.config.read_text().replace(USER, "no-such-user"))
        for command in ("start", "check"):
            said = running.command(command)
            assert said.returncode == 2
            assert '[process] user = "no-such-user": no such user' in said.stderr


def test_the_asyncio_loop_serves_as_well() -> None:
    """RELAYD_LOOP=asyncio: without uvloop everything still works."""
    with relay() as running:
        running.start(RELAYD_LOOP="asyncio")
        assert greeting(running.port).startswith(b"220")


@pytest.mark.long
def test_a_command_that_connects_and_says_nothing_is_dropped() -> None:
    """After ten seconds, and the master sleeps meanwhile and after."""
    with relay() as running:
        running.start()
        (master, *_) = running.processes()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.settimeout(20)
            silent.connect(str(running.spool / "relayd.sock"))
            assert silent.recv(1) == b""
        assert sum(master.cpu_times()[:2]) < 2.0
        running.stop()
