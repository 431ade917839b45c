"""What an operator has paused, over restarts."""

from pathlib import Path

from relayd.spool.layout import Layout
from relayd.spool.pause import EVERYTHING, Pause


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
    (tmp_path / "paused").unlink()
    (tmp_path / "paused").mkdir()
    assert pause.current() == {EVERYTHING}
