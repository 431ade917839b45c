"""The watchdog on real processes: what hangs is told and replaced, what the disk holds up is told alone."""

import os
import shutil
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.relay import USER, Relay, relay

pytestmark = pytest.mark.long

# Thirty seconds, the time between two looks, and a machine that has other things to do.
PATIENCE_SECONDS = 60.0
MAIL = b"Subject: hello\r\n\r\nHello.\r\n"
TO = "bob@held.test"


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A disk of its own at this folder, which can be frozen; gives where it is mounted."""
    image = folder.parent / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        shutil.rmtree(folder / "lost+found")
        shutil.chown(folder, USER)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Whoever writes there waits."""
    subprocess.run(["fsfreeze", "--freeze", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", folder], check=True)


def send(running: Relay) -> None:
    """One message, to a domain that is kept on hold."""
    with smtplib.SMTP("127.0.0.1", running.port, timeout=120) as client:
        client.sendmail("alice@example.org", [TO], MAIL)


def test_processes_that_are_stopped_are_replaced() -> None:
    """A worker and the delivery process, which nobody wakes up any more."""
    with relay() as running:
        running.start()
        stopped = [*running.pids("worker 1"), *running.pids("delivery")]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        said = running.wait_for_events("process.hung", 2, PATIENCE_SECONDS)
        assert sorted(each["child"] for each in said) == sorted(stopped)
        assert {(each["reason"], each["killed"]) for each in said} == {
            ("it is stopped, by SIGSTOP or a debugger", True)
        }
        died = running.wait_for_events("process.died", 2)
        assert all(each["reason"].startswith("it hung for 3") for each in died)
        running.wait(lambda: running.command("status", "--check").returncode == 0, "all well")
        assert not set(stopped) & set(running.pids())


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("fsfreeze") is None, reason="needs root and fsfreeze")
def test_a_process_that_waits_for_the_disk_is_told_and_lives() -> None:
    """A spool that takes no more writes: log and check say so; when it goes on, the client hears its 250."""
    settings = '[routes]\n"held.test" = {hold = true}\n'
    with relay(settings) as running, disk(running.spool), ThreadPoolExecutor(1) as clients:
        text = running.config.read_text().replace("[log]", f'[log]\nfile = "{running.folder}/log/relayd.log"')
        running.config.write_text(text)
        running.log_file = running.folder / "log" / "relayd.log"
        running.log_file.parent.mkdir()
        shutil.chown(running.log_file.parent, USER)
        running.start()
        before = running.pids()
        with frozen(running.spool):
            sent = clients.submit(send, running)
            (said, *_) = running.wait_for_events("process.hung", 1, PATIENCE_SECONDS)
            assert (said["reason"], said["killed"]) == ("it waits for the disk", False)
            assert "relayd/spool/intake.py" in said["stack"]
            checked = running.command("status", "--check")
            assert checked.returncode == 1
            assert "hangs: it waits for the disk for 3" in checked.stdout
        sent.result(60)
        assert running.pids() == before
        assert running.events("process.died") == []
        running.wait(lambda: running.command("status", "--check").returncode == 0, "all well")
        running.stop()
