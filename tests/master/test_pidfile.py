"""The pid file: what is believed of it, and that it is single."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relayd.master.pidfile import PidFile, lock_path, read, running
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

ME = Identity("me", os.geteuid(), os.getegid(), ())


@pytest.mark.parametrize(
    "content", [b"", b"0", b"1", b"-1", b"1.5", b"12 13", b"4194305", b"9" * 40, b"\xb2", b"x", b"\0"]
)
def test_what_is_no_pid_is_none(tmp_path: Path, content: bytes) -> None:
    """Neither init, nor a group, nor a number that no process has."""
    path = tmp_path / "relayd.pid"
    path.write_bytes(content)
    assert read(path) is None
    assert running(path) is None


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    """Nothing was ever started."""
    assert read(tmp_path / "relayd.pid") is None


def test_a_process_that_began_after_the_file_was_written_is_a_stranger(tmp_path: Path) -> None:
    """The pid was given again; without that difference the same process is believed."""
    path = tmp_path / "relayd.pid"
    command = [sys.executable, "-c", "print(flush=True); input()", "relayd: master"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # Until it runs, the kernel may not show its words yet.
        assert process.stdout is not None
        process.stdout.readline()
        path.write_text(f"{process.pid}\n")
        found = running(path)
        assert found is not None
        assert found.pid == process.pid
        os.utime(path, (1, 1))
        assert running(path) is None
        process.communicate(b"\n", 5)


def test_another_program_of_that_pid_is_a_stranger(tmp_path: Path) -> None:
    """A process that does not call itself relayd, even if it is older than the file."""
    path = tmp_path / "relayd.pid"
    with subprocess.Popen(["sleep", "30"]) as process:
        path.write_text(f"{process.pid}\n")
        assert running(path) is None
        process.kill()


def test_a_second_claim_is_refused_with_the_pid(tmp_path: Path) -> None:
    """The lock is held by another open file, as another process has it."""
    path = tmp_path / "relayd.pid"
    first = PidFile(path)
    first.claim()
    first.write(ME)
    with pytest.raises(StartFailed, match=rf"already running \(pid {os.getpid()}; "):
        PidFile(path).claim()
    first.remove()
    assert not path.exists()
    third = PidFile(path)
    third.claim()
    assert not third.is_stale
    third.remove()


def test_a_file_without_a_lock_is_stale(tmp_path: Path) -> None:
    """What a killed master left: the next one takes over, and knows."""
    path = tmp_path / "relayd.pid"
    path.write_text("4711\n")
    file = PidFile(path)
    file.claim()
    assert file.is_stale
    file.write(ME)
    assert read(path) == os.getpid()
    file.remove()


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """Root would write where the link leads."""
    target = tmp_path / "target"
    target.write_text("keep me")
    path = tmp_path / "relayd.pid"
    path.symlink_to(target)
    with pytest.raises(StartFailed, match="symbolic link"):
        PidFile(path).claim()
    assert target.read_text() == "keep me"


def test_the_lock_stays_beside_it(tmp_path: Path) -> None:
    """A lock file that is never removed cannot be locked twice."""
    path = tmp_path / "relayd.pid"
    file = PidFile(path)
    file.claim()
    file.remove()
    assert lock_path(path).exists()
