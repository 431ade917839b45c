"""The facts of a check where nothing runs, and where the spool or its disk is strange."""

import dataclasses
import os
import time
from pathlib import Path

import pytest

from relayd.base.config import Config, load
from relayd.cli.checking import check
from relayd.spool.layout import Layout, name_of


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """One with a spool in a folder of its own."""
    Layout(str(tmp_path / "spool")).create()
    return load(None, spool=tmp_path / "spool")


def message(config: Config, state: str, number: int, due: float) -> None:
    """A file that is one by its name, and when it is due."""
    path = Layout(str(config.spool.directory)).message(state, name_of(f"{number:017d}", 0))
    Path(path).touch()
    os.utime(path, (due, due))


def test_the_oldest_due_message_and_failed_are_seen_without_a_master(config: Config) -> None:
    """What is scheduled or on hold is not due."""
    now = time.time()
    message(config, "new", 1, now - 100)
    message(config, "cur", 2, now - 1000)
    message(config, "cur", 3, now + 1000)
    message(config, "hold", 4, now - 9000)
    message(config, "failed", 5, now - 9000)
    checked = check(config)
    assert not checked.is_running
    assert checked.facts.oldest_due is not None
    assert 1000 <= checked.facts.oldest_due < 2000
    assert checked.facts.failed == 1
    assert checked.facts.waiting == 3
    assert checked.facts.free is not None
    assert checked.facts.unreadable == ""


def test_while_everything_is_paused_nothing_is_due(config: Config) -> None:
    """The operator knows."""
    message(config, "new", 1, time.time() - 1000)
    (config.spool.directory / "paused").write_text('["*"]')
    assert check(config).facts.oldest_due is None


def test_a_spool_that_cannot_be_read_is_a_fact(config: Config, tmp_path: Path) -> None:
    """None there, one of another program, a file in its place."""
    gone = dataclasses.replace(config, spool=dataclasses.replace(config.spool, directory=tmp_path / "none"))
    assert check(gone).facts.unreadable == f"there is no spool at {tmp_path / 'none'}"
    (config.spool.directory / "format").write_text("another\n")
    assert "is no spool of relayd" in check(config).facts.unreadable
    (config.spool.directory / "format").write_text("relayd spool 1\n")
    (config.spool.directory / "cur").rmdir()
    (config.spool.directory / "cur").touch()
    assert check(config).facts.unreadable.endswith("cannot be read: Not a directory")


def test_a_disk_that_does_not_answer_is_a_fact(config: Config) -> None:
    """In bounded time; what is said is where it is."""

    def look(directory: Path) -> bytes:
        reading, _ = os.pipe()
        return os.read(reading, 1)

    facts = check(config, look=look, patience=0.3).facts
    assert facts.unreadable == f"the disk of the spool {config.spool.directory} does not answer"
    broken = check(config, look=lambda directory: b"").facts
    assert broken.unreadable == f"the spool {config.spool.directory} cannot be looked at"
