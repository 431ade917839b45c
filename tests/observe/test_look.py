"""A look at the spool, as one finds it."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from relayd.observe.look import MOST_EXCHANGERS, look
from relayd.spool.kept import FORMAT, Exchangers, Kept
from relayd.spool.layout import Layout
from relayd.spool.pause import Pause


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """An empty one."""
    folder = tmp_path / "spool"
    Layout(str(folder)).create()
    return folder


def message(spool: Path, state: str, number: int, mtime: float) -> None:
    """A file that has a message's name."""
    path = spool / state / f"1k14a4efgkeycd{number:03d},S=5"
    path.write_bytes(b"12345")
    os.utime(path, (mtime, mtime))


def keep(spool: Path, *kept: Kept) -> None:
    """Write the file of measures."""
    (spool / "exchangers").write_bytes(msgspec.json.encode(Exchangers(FORMAT, time.time(), exchangers=kept)))


def greeting(name: str, seconds: float, greeted: float, address: str = "192.0.2.1") -> Kept:
    """One address that greeted so many seconds ago."""
    at = time.time() - greeted
    return Kept(name, address, 25, heard=at, greeted=at, greeting_s=seconds, samples=1)


def test_messages_are_counted_by_folder_and_the_oldest_that_is_due_has_its_age(spool: Path) -> None:
    """What is scheduled, held or failed is not due."""
    now = time.time()
    message(spool, "new", 1, now - 60)
    message(spool, "cur", 2, now - 600)
    message(spool, "cur", 3, now + 3600)
    message(spool, "hold", 4, now - 9000)
    message(spool, "failed", 5, now - 9000)
    seen = look(spool)
    assert seen.states == {"new": 1, "cur": 2, "hold": 1, "failed": 1}
    assert seen.due == 2
    assert seen.oldest_due_s == pytest.approx(600, abs=5)
    assert (seen.trouble, seen.paused) == ("", False)
    assert seen.free is not None


def test_an_empty_queue_has_no_oldest(spool: Path) -> None:
    """And nothing else."""
    seen = look(spool)
    assert (seen.due, seen.oldest_due_s, seen.greetings) == (0, None, ())


def test_what_an_operator_has_paused_is_not_overdue(spool: Path) -> None:
    """It waits because somebody wants it to."""
    message(spool, "new", 1, time.time() - 9000)
    Pause(Layout(str(spool))).add("*")
    seen = look(spool)
    assert (seen.due, seen.oldest_due_s, seen.paused) == (1, None, True)


def test_an_exchanger_has_the_figure_of_its_address_that_greeted_last(spool: Path) -> None:
    """One time series for each name."""
    keep(
        spool,
        greeting("mx.test", 0.3, 500, "192.0.2.1"),
        greeting("mx.test", 0.1, 5, "192.0.2.2"),
        greeting("other.test", 0.2, 50),
        Kept("silent.test", "192.0.2.9", 25, heard=time.time(), failures=3),
    )
    assert {each.exchanger: each.seconds for each in look(spool).greetings} == {"mx.test": 0.1, "other.test": 0.2}


def test_exchangers_are_bounded_by_most_recent_use(spool: Path) -> None:
    """Whoever delivers to many domains meets thousands."""
    keep(spool, *(greeting(f"mx{number}.test", 0.1, 1000 - number) for number in range(200)))
    names = [each.exchanger for each in look(spool).greetings]
    assert len(names) == MOST_EXCHANGERS
    assert set(names) == {f"mx{number}.test" for number in range(150, 200)}


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b'{"format":"other","written":0}', b"\xff"])
def test_a_file_of_measures_that_is_none_is_passed_over(spool: Path, content: bytes) -> None:
    """The queue is seen all the same."""
    (spool / "exchangers").write_bytes(content)
    seen = look(spool)
    assert (seen.greetings, seen.trouble) == ((), "")
    assert seen.states["new"] == 0


def test_a_spool_that_cannot_be_read_is_said_in_words(spool: Path, tmp_path: Path) -> None:
    """None there, another version's, a folder gone."""
    assert "there is no spool" in look(tmp_path / "none").trouble
    (spool / "hold").rmdir()
    assert "hold" in look(spool).trouble
    (spool / "format").write_text("relayd spool 2\n")
    assert "format 2" in look(spool).trouble
