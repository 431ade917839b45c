"""etc/logrotate.conf and the command that it runs, where no relay runs; tests/live/test_log.py has the rest."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.relay import USER, Relay, relay

ETC = Path(__file__).parents[2] / "etc"
COMMAND = "/opt/relayd/bin/relayd reopen -c /etc/relayd.toml"


def rotate(running: Relay) -> subprocess.CompletedProcess[str]:
    """Run logrotate with our file, whether it is time or not; places and user are the test's."""
    if shutil.which("logrotate") is None:
        pytest.skip("no logrotate here")
    text = (ETC / "logrotate.conf").read_text()
    assert text.count("/var/log/relayd/*.log {") == text.count(COMMAND) == text.count("su relayd relayd\n") == 1
    text = text.replace("/var/log/relayd/*.log", str(running.log_file))
    text = text.replace(COMMAND, f"{sys.executable} -I -m relayd reopen -c {running.config}")
    text = re.sub("^ *su .*\n", "    su nobody nogroup\n" if USER else "", text, flags=re.MULTILINE)
    config = running.folder / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o644)
    return subprocess.run(
        ["logrotate", "--force", "--state", str(running.folder / "state"), str(config)],
        check=False,
        capture_output=True,
        text=True,
    )


def test_logrotate_has_nobody_to_tell() -> None:
    """No relay runs: rotated all the same, and no mail from cron about it."""
    with relay() as running:
        running.log_file.write_text("one\n")
        if USER:
            shutil.chown(running.log_file, USER)
        done = rotate(running)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert running.log_file.with_name("relayd.log.1").read_text() == "one\n"


def test_reopen_signals_nobody_but_the_master() -> None:
    """Whatever stands in the pid file of a relay that does not run: 3, and one line."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with relay() as running:
            for written in ("", "1\n", "-1\n", "99999999999\n", "words", f"{os.getpid()}\n"):
                (running.spool / "relayd.pid").write_text(written)
                done = running.command("reopen")
                assert (done.returncode, done.stderr) == (3, "relayd: relayd is not running\n"), written
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == []
