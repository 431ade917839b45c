"""What an operator has paused, over restarts."""

import errno
from pathlib import Path

from relayd.spool.layout import Layout
from relayd.spool.pause import EVERYTHING, Pause
from tests.spool.crash import LAYOUT
from tests.spool.hall import Hall


def test_a_pause_outlives_the_process_and_is_seen_by_others(tmp_path: Path) -> None:
    """Two hands on the same file; each sees what the other did."""
    one, other = Pause(Layout(str(tmp_path))), Pause(Layout(str(tmp_path)))
    assert other.current() == frozenset()
    one.add("example.net")
    one.add("example.org")
    assert other.current() == {"example.net", "example.org"}
    one.discard("example.net")
    assert other.current() == {"example.org"}
    one.add(EVERYTHING)
    one.discard(EVERYTHING)
    assert other.current() == frozenset()


def test_a_file_that_cannot_be_read_pauses_everything(tmp_path: Path) -> None:
    """Somebody meant something by it."""
    pause = Pause(Layout(str(tmp_path)))
    (tmp_path / "paused").write_text("example.net")
    assert pause.current() == {EVERYTHING}
    (tmp_path / "paused").write_text("[" * 100_000)
    assert pause.current() == {EVERYTHING}
    (tmp_path / "paused").unlink()
    (tmp_path / "paused").mkdir()
    assert pause.current() == {EVERYTHING}


def test_a_disk_that_does_not_say_pauses_everything() -> None:
    """Only where there is no file nothing is paused."""
    hall = Hall()
    pause = Pause(LAYOUT, hall.disk)
    assert pause.current() == frozenset()
    hall.have_fail("lstat", errno.EIO, "paused")
    assert pause.current() == {EVERYTHING}
