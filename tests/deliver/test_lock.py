"""The lock: one delivery process for a spool, and the other one learns whose it is."""

import os
from pathlib import Path

import pytest

from relayd.deliver.lock import Held, held, holder


def test_a_second_one_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """So that the operator knows what to stop."""
    path = tmp_path / "delivery.lock"
    with held(path, 0.0), pytest.raises(Held) as refused, held(path, 0.0):
        pass
    assert str(refused.value) == f"{path} is held by pid {os.getpid()}"


def test_the_lock_can_be_had_again_and_its_file_stays(tmp_path: Path) -> None:
    """A file that is taken away and made anew could be locked twice."""
    path = tmp_path / "delivery.lock"
    for _ in range(2):
        with held(path, 0.0):
            inode = path.stat().st_ino
        assert path.stat().st_ino == inode


def test_the_lock_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    """Whatever ends it."""
    path = tmp_path / "delivery.lock"
    with pytest.raises(ZeroDivisionError), held(path, 0.0):
        raise ZeroDivisionError
    with held(path, 0.0):
        pass


def test_a_lock_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    """Its reason is for the operator."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"exists|directory"), held(tmp_path / "file" / "delivery.lock", 0.0):
        pass


def test_where_the_system_does_not_tell_the_holder_has_no_name(tmp_path: Path) -> None:
    """No list of locks, nobody in it, or another file's."""
    path = tmp_path / "delivery.lock"
    path.touch()
    locks = tmp_path / "locks"
    assert holder(path, locks) is None
    status = path.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    locks.write_text(
        "nonsense\n"
        f"1: FLOCK  ADVISORY  WRITE 77 {device}:{status.st_ino + 1} 0 EOF\n"
        f"2: -> FLOCK  ADVISORY  WRITE 78 {device}:{status.st_ino} 0 EOF\n"
        f"3: POSIX  ADVISORY  WRITE 79 {device}:{status.st_ino} 0 EOF\n"
        f"4: FLOCK  ADVISORY  WRITE 0 {device}:{status.st_ino} 0 EOF\n"
    )
    assert holder(path, locks) is None
    locks.write_text(f"4: FLOCK  ADVISORY  WRITE 80 {device}:{status.st_ino} 0 EOF\n")
    assert holder(path, locks) == 80
