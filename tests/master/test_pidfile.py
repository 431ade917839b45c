"""The pid file: what is believed of it, and that it is single."""

import os
import subprocess
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


@pytest.mark.parametrize("title", ["relayd: master", "sleep"])
def test_a_process_that_does_not_hold_the_lock_is_a_stranger(tmp_path: Path, title: str) -> None:
    """Whatever it is called: another relay's master is one too. The lock may be free, or another process's."""
    path = tmp_path / "relayd.pid"
    with subprocess.Popen([title, "30"], executable="/bin/sleep") as process:
        path.write_text(f"{process.pid}\n")
        assert running(path) is None
        lock_path(path).touch()
        assert running(path) is None
        file = PidFile(path)
        file.claim(ME)
        assert running(path) is None
        file.close()
        process.kill()


def test_nobody_is_believed_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    """Without /proc/locks, and where its lines are no locks of a file."""
    path, locks = tmp_path / "relayd.pid", tmp_path / "locks"
    path.write_text("4711\n")
    lock_path(path).touch()
    inode = lock_path(path).stat().st_ino
    assert running(path, locks) is None
    for line, expected in (
        (f"1: FLOCK  ADVISORY  WRITE 4711 00:2f:{inode} 0 EOF", 4711),
        (f"1: -> FLOCK  ADVISORY  WRITE 4711 00:2f:{inode} 0 EOF", None),
        (f"1: POSIX  ADVISORY  WRITE 4711 00:2f:{inode} 0 EOF", None),
        (f"1: FLOCK  ADVISORY  WRITE 4712 00:2f:{inode} 0 EOF", None),
        (f"1: FLOCK  ADVISORY  WRITE 4711 00:2f:1{inode} 0 EOF", None),
        ("1: FLOCK  ADVISORY  WRITE 4711", None),
        ("", None),
    ):
        locks.write_text(line + "\n")
        assert running(path, locks) == expected


def test_who_holds_the_lock_is_believed_and_nobody_beside_it(tmp_path: Path) -> None:
    """Whatever it calls itself; another pid in the file is not believed then."""
    path = tmp_path / "relayd.pid"
    file = PidFile(path)
    file.claim(ME)
    file.write(ME)
    assert running(path) == os.getpid()
    path.write_text(f"{os.getppid()}\n")
    assert running(path) is None
    file.remove()


def test_a_second_claim_is_refused_with_the_pid(tmp_path: Path) -> None:
    """The lock is held by another open file, as another process has it."""
    path = tmp_path / "relayd.pid"
    first = PidFile(path)
    first.claim(ME)
    first.write(ME)
    with pytest.raises(StartFailed, match=rf"already running \(pid {os.getpid()}; "):
        PidFile(path).claim(ME)
    first.remove()
    assert not path.exists()
    third = PidFile(path)
    third.claim(ME)
    assert not third.is_stale
    third.remove()


def test_a_file_without_a_lock_is_stale(tmp_path: Path) -> None:
    """What a killed master left: the next one takes over, and knows."""
    path = tmp_path / "relayd.pid"
    path.write_text("4711\n")
    file = PidFile(path)
    file.claim(ME)
    assert file.is_stale
    file.write(ME)
    assert read(path) == os.getpid()
    file.remove()


@pytest.mark.parametrize("name", ["relayd.pid", "relayd.pid.lock"])
def test_a_symbolic_link_is_refused(tmp_path: Path, name: str) -> None:
    """Root would write where the link leads, or give it away."""
    target = tmp_path / "target"
    target.write_text("keep me")
    (tmp_path / name).symlink_to(target)
    file = PidFile(tmp_path / "relayd.pid")
    with pytest.raises(StartFailed, match="symbolic link"):
        claim_and_write(file)
    file.close()
    assert target.read_text() == "keep me"


@pytest.mark.parametrize("name", ["relayd.pid", "relayd.pid.lock"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, name: str) -> None:
    """A FIFO would wait for a reader."""
    os.mkfifo(tmp_path / name)
    file = PidFile(tmp_path / "relayd.pid")
    with pytest.raises(StartFailed, match="not a regular file"):
        claim_and_write(file)
    file.close()
    assert read(tmp_path / name) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a file of another user")
@pytest.mark.parametrize("name", ["relayd.pid", "relayd.pid.lock"])
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    """And is as it was."""
    (tmp_path / name).write_text("keep me")
    os.chown(tmp_path / name, 4711, 4711)
    file = PidFile(tmp_path / "relayd.pid")
    with pytest.raises(StartFailed, match="belongs to uid 4711"):
        claim_and_write(file)
    file.close()
    assert (tmp_path / name).read_text() == "keep me"


def claim_and_write(file: PidFile) -> None:
    """As a start does."""
    file.claim(ME)
    file.write(ME)


def test_the_lock_lasts_with_its_descriptor_and_not_with_a_copy_that_was_closed(tmp_path: Path) -> None:
    """As through an exec: who is handed the descriptor holds the lock, and takes it again without a gap."""
    path = tmp_path / "relayd.pid"
    first = PidFile(path)
    first.claim(ME)
    second = PidFile(path, os.dup(first.fileno()))
    first.close()
    with pytest.raises(StartFailed, match="already running"):
        PidFile(path).claim(ME)
    second.claim(ME)
    second.close()
    third = PidFile(path)
    third.claim(ME)
    third.close()


def test_a_lock_file_that_was_taken_away_ends_nobody_who_has_the_lock(tmp_path: Path) -> None:
    """Whoever clears a folder of old files must not end the relay at its next upgrade."""
    path = tmp_path / "relayd.pid"
    first = PidFile(path)
    first.claim(ME)
    lock_path(path).unlink()
    lock_path(path).touch()
    first.claim(ME)
    first.close()


def test_the_lock_stays_beside_it(tmp_path: Path) -> None:
    """A lock file that is never removed cannot be locked twice."""
    path = tmp_path / "relayd.pid"
    file = PidFile(path)
    file.claim(ME)
    file.remove()
    assert lock_path(path).exists()
