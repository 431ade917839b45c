"""Upgrades: other code takes the place of the one that runs, in the same process and with the port open."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.world.code import code, is_possible
from tests.world.network import free_port
from tests.world.relay import Relay, is_there, relay
from tests.world.upgrading import Session, lines, upgradable, upgrade

_SECONDS = 20

pytestmark = pytest.mark.skipif(not is_possible(), reason="no Python that the relay's user can execute")


def serving(running: Relay) -> list[str]:
    """The roles that are filled, apart from what retires."""
    return [each["role"] for each in running.report()["processes"][1:] if each["state"] == "running"]


BROKEN = [
    ({"receive/worker.py": "def broken(:"}, "SyntaxError"),
    ({"master/adopt.py": "import no_such_module"}, "No module named 'no_such_module'"),
    ({"receive/canary.py": "async def rehearse(*_): raise CanaryError('it coughs')"}, "it coughs"),
    ({"deliver/boot.py": "def deliver(post): return 7"}, "the new delivery died"),
]
# Those are found when the master is that code already.
BROKEN_IN_PLACE = [
    ({"master/adopt.py": "def adopt(*_): raise RuntimeError('it chokes')"}, "RuntimeError: it chokes"),
    ({"master/upgrade.py": "class Upgrade: __init__ = lambda *_: exit('it leaves')"}, "SystemExit: it leaves"),
]


@pytest.mark.parametrize("broken", [BROKEN, BROKEN_IN_PLACE], ids=["before", "in place"])
def test_new_code_that_is_broken_leaves_everything_as_it_was(broken: list[tuple[dict[str, str], str]]) -> None:
    """Exit status 1, one line with the reason; the old code goes on in the same process, and takes good code."""
    with upgradable() as running:
        running.start()
        (master,) = running.pids("master")
        session = Session(running.port)
        for number, (added, reason) in enumerate(broken):
            said = upgrade(running, code(running.folder / f"broken{number}", "2", added=added))
            assert (said.returncode, lines(said)) == (1, 1), said.stderr
            assert said.stderr.startswith("relayd: not upgraded: ")
            assert reason in said.stderr
            running.wait(lambda: serving(running) == ["worker 1", "worker 2", "delivery"], "all that serve")
            assert running.report()["version"] == "1"
            assert running.pids("master") == [master]
            session.says(b"NOOP", b"250 ")
        refused = [event["reason"] for event in running.events("config.refused")]
        assert len(refused) == len(broken)
        assert all(reason in found for (_, reason), found in zip(broken, refused, strict=True))
        said = upgrade(running, code(running.folder / "good", "2"))
        assert said.returncode == 0, said.stderr
        assert running.report()["version"] == "2"
        session.says(b"NOOP", b"250 ")
        session.quit()


BACK = """
import os


def adopt(*_):
    os.unlink({!r})
    raise OSError("no air")
"""


def test_what_has_gone_meanwhile_does_not_end_a_relay_that_runs() -> None:
    """The file of its lock; and what the configuration names, where new code gives up: the old one has it."""
    keys = 'hosts = ["127.0.0.1"]\nuser = "relay"\npassword_file = "password"\ntls = "require"\n'
    with upgradable(**{'routes."example.test"': keys}) as running:
        secret = running.folder / "password"
        secret.write_text("secret")
        shutil.chown(running.folder, running.spool.owner())
        shutil.chown(secret, running.spool.owner())
        secret.chmod(0o600)
        running.start()
        (master,) = running.pids("master")
        (running.spool / "relayd.pid.lock").unlink()
        said = upgrade(running, code(running.folder / "two", "2"))
        assert (said.returncode, said.stderr) == (0, ""), running.log_text()
        broken = code(running.folder / "three", "3", added={"master/adopt.py": BACK.format(str(secret))})
        said = upgrade(running, broken)
        assert (said.returncode, said.stderr) == (1, "relayd: not upgraded: OSError: no air\n"), running.log_text()
        assert running.pids("master") == [master]
        assert running.report()["version"] == "2"
        Session(running.port).quit()


def test_code_without_its_packages_is_told_by_its_own_command() -> None:
    """The command itself does not run; nothing is asked of the relay."""
    with upgradable() as running:
        running.start()
        said = upgrade(running, code(running.folder / "bare", "2", packages=False))
        assert said.returncode == 1
        assert running.report()["version"] == "1"
        assert running.events("config.refused") == []


def test_a_configuration_that_the_new_code_refuses_leaves_everything_as_it_was() -> None:
    """A mistake in the file, and what only a start can change."""
    with upgradable() as running:
        running.start()
        workers = running.pids("worker")
        good = running.config.read_text()
        new = code(running.folder / "two", "2")
        for settings, reason in (
            (good + "[session]\ntimeout = 5\n", "[session] timeout"),
            (good.replace("port = 0", "port = 2525"), "restart needed"),
            (good.replace("workers = 2", "workers = 3"), "restart needed"),
        ):
            running.config.write_text(settings)
            said = upgrade(running, new)
            assert (said.returncode, lines(said)) == (1, 1), said.stderr
            assert reason in said.stderr
        running.config.write_text(good)
        assert running.pids("worker") == workers
        assert running.report()["version"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the relay becomes another user")
def test_what_the_relays_user_cannot_read_is_named() -> None:
    """The configuration, and the new code: exit status 1, one line, and the old code goes on."""
    with upgradable() as running:
        running.start()
        running.config.chmod(0o600)
        said = upgrade(running, code(running.folder / "two", "2"))
        assert (said.returncode, lines(said)) == (1, 1)
        assert "relayd.toml: cannot be read: Permission denied" in said.stderr
        running.config.chmod(0o644)
        hidden = code(running.folder / "three", "3")
        hidden.folder.chmod(0o700)
        said = upgrade(running, hidden)
        assert (said.returncode, lines(said)) == (1, 1)
        assert f"{hidden.python} may not be executed by the user" in said.stderr
        assert running.report()["version"] == "1"


@contextmanager
def held_up(running: Relay, **added: str) -> Iterator[subprocess.Popen[bytes]]:
    """An upgrade that stands still for a second, as the new code already, before it takes anything over."""
    mark = running.spool / "adopting"
    new = code(running.folder / "held-up", "2", added={"master/adopt.py": HELD_UP.format(mark), **added})
    command = [new.python, "-I", "-m", "relayd", "upgrade", "-c", str(running.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as asking:
        try:
            running.wait(mark.exists, "adoption")
            yield asking
        finally:
            asking.kill()


HELD_UP = """
import pathlib
import time

_adopt = adopt


def adopt(state, command):
    pathlib.Path('{}').touch()
    time.sleep(1)
    return _adopt(state, command)
"""


def test_a_stop_during_an_upgrade_is_heard_by_whichever_code_runs_then() -> None:
    """SIGTERM while the new code takes over, and before it hears anything: the relay ends in order."""
    with upgradable() as running:
        running.start()
        master, *_ = processes = running.processes()
        with held_up(running) as asking:
            master.send_signal(signal.SIGTERM)
            _, said = asking.communicate(timeout=30)
            assert asking.returncode == 1
            assert b"the relay is stopping" in said
        running.wait(lambda: not any(is_there(process) for process in processes), "end")
        assert not (running.spool / "relayd.pid").exists()
        assert not (running.spool / "relayd.sock").exists()
        assert running.files("tmp") == []


def test_who_dies_during_an_upgrade_and_who_asks_is_seen_to_by_the_new_code() -> None:
    """A worker that is killed; a log that is taken away; commands that connect meanwhile; a second upgrade."""
    with upgradable() as running:
        running.start()
        master, worker, *_ = running.processes()
        second = [running.python, "-I", "-m", "relayd", "upgrade", "-c", str(running.config)]
        with held_up(running) as asking, socket.socket(socket.AF_UNIX) as command:
            worker.kill()
            master.send_signal(signal.SIGUSR1)
            command.settimeout(_SECONDS)
            command.connect(str(running.spool / "relayd.sock"))
            command.sendall(b'{"ask": "status"}')
            assert b'"version":"2"' in command.recv(65536)
            _, said = asking.communicate(timeout=30)
            assert (asking.returncode, said) == (0, b"")
        died = [(event["role"], event["child"]) for event in running.events("process.died")]
        assert died == [("worker 1", worker.pid)]
        assert serving(running) == ["worker 1", "worker 2", "delivery"]
        both = [subprocess.Popen(second, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        said_by = [(each.communicate(timeout=60)[1], each.returncode) for each in both]
        assert sorted(said_by) == [("", 0), ("relayd: not upgraded: an upgrade is under way; try again\n", 1)]


def test_counters_of_another_layout_go_on() -> None:
    """The new code has places of its own in shared memory; what was counted before is there under its names."""
    with upgradable() as running:
        running.start()
        before = running.report()["totals"]
        assert before["sessions"] > 0
        other = {"base/counters.py": "_LAYOUT = 4711", "base/tally.py": "_LAYOUT = 4711"}
        said = upgrade(running, code(running.folder / "two", "2", added=other))
        assert (said.returncode, said.stderr) == (0, ""), running.log_text()
        assert running.report()["totals"] == before
        Session(running.port).quit()
        running.wait(lambda: running.report()["totals"]["sessions"] == before["sessions"] + 1, "a session more")
        assert running.events("bug") == []


def test_listeners_that_are_written_alike_keep_their_sockets() -> None:
    """Two at a port that the kernel chose, one of which is for a proxy: each is what it was."""
    kinds = ("", 'proxy = true\ntrusted = ["127.0.0.1"]\n', "")
    with relay("".join(f'[[listener]]\naddress = "127.0.0.1"\nport = 0\n{keys}' for keys in kinds)) as running:
        running.python = code(running.folder / "one", "1").python
        running.start()
        places = running.status()["listening"]
        for version in ("2", "3"):
            said = upgrade(running, code(running.folder / version, version))
            assert said.returncode == 0, said.stderr
            assert running.status()["listening"] == places
            for place, keys in zip(places, kinds, strict=True):
                with socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2])), _SECONDS) as client:
                    if keys:
                        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\n")
                    assert client.recv(512).startswith(b"220 relay.example.org ESMTP relayd " + version.encode())


MORE = """
_known = State.descriptors
State.descriptors = lambda self: [*_known(self), os.memfd_create("unknown")]
"""


def test_no_process_gains_anything_by_an_upgrade() -> None:
    """No user, group or capability, no wider umask, and no descriptor more than before.

    Nor one that the code before has left, and that the new code knows nothing of.
    """
    with upgradable() as running:
        running.start()

        def held() -> dict[str, tuple[list[str], Counter[str]]]:
            return {process.cmdline()[0]: holdings(process) for process in running.processes()}

        before = held()
        for version, more in (("2", MORE), ("3", "")):
            said = upgrade(running, code(running.folder / version, version, added={"master/handover.py": more}))
            assert said.returncode == 0, said.stderr
            running.wait(lambda: len(running.pids()) == 4, "end of the old processes")
            running.wait(lambda: held() == before, f"the same as {before}, but {held()}")


def holdings(process: psutil.Process) -> tuple[list[str], Counter[str]]:
    """What the kernel says that a process may, and the kinds of its descriptors."""
    names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Umask")
    folder = Path(f"/proc/{process.pid}")
    status = [line for line in (folder / "status").read_text().splitlines() if line.split(":")[0] in names]
    kinds = [os.readlink(link).partition("[")[0] for link in (folder / "fd").iterdir()]
    return status, Counter(kinds)


def test_when_there_is_no_way_back_the_relay_ends_in_order_and_says_why() -> None:
    """New code that cannot take over, and old code that is gone: no orphan keeps the port, and a start works."""
    port = free_port()
    with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
        running.python = code(running.folder / "one", "1").python
        running.start()
        processes = running.processes()
        new = code(
            running.folder / "two", "2", added={"master/adopt.py": "def adopt(*_): raise OSError('no air')"}
        )
        Path(running.python).unlink()
        said = upgrade(running, new)
        assert (said.returncode, lines(said)) == (3, 1)
        running.wait(lambda: not any(is_there(process) for process in processes), "end")
        (died,) = running.events("process.died")
        assert died["role"] == "master"
        assert "no air" in died["reason"]
        running.python = code(running.folder / "three", "3").python
        running.start()
        Session(port).quit()


def test_nothing_runs_and_upgrade_says_so() -> None:
    """Exit status 3."""
    with upgradable() as running:
        said = running.command("upgrade")
        assert said.returncode == 3
        assert said.stderr.startswith("relayd: relayd is not running")
        assert lines(said) == 1


def test_the_entrance_of_an_upgrade_is_no_command_for_people() -> None:
    """Started by hand it says what it is for."""
    said = subprocess.run(
        [sys.executable, "-I", "-m", "relayd.cli.adopt", "adopt"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert said.returncode == 2
    assert said.stderr.startswith("relayd: only a running relay starts this")
    assert lines(said) == 1
