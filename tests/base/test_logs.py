"""A log and its rotated files are searched for an ID; what cannot be read hides nothing else."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.base.events import MessageRemoved
from relayd.base.grep import lines_with
from relayd.base.line import Format, render
from relayd.base.logs import Logs

ID, OTHER = "1k13n17cbmb9ada40", "1k13n17cbmb9ada41"
AT = datetime(2026, 7, 1, tzinfo=UTC)


def line(reason: str, message_id: str = ID, format: Format = "text") -> bytes:
    """One line about a message."""
    return render(MessageRemoved(id=message_id, reason=reason), format, AT, 7)


def found(logs: Logs, since: float = 0.0) -> set[str]:
    """The reasons of all lines about ID."""
    return {each.fields["reason"] for each in logs.about(ID, since)}


def test_rotated_and_packed_files_are_read_too(tmp_path: Path) -> None:
    """Whatever names logrotate was told to give, with text and JSON beside each other; nobody else's files."""
    path = tmp_path / "relayd.log"
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".1": bytes,
        ".2.gz": gzip.compress,
        "-20260701.xz": lzma.compress,
        "-20260630-1.bz2": bz2.compress,
    }
    for end, pack in packers.items():
        (tmp_path / f"relayd.log{end}").write_bytes(pack(line("x", OTHER) + line(f"in{end}", format="json")))
    (tmp_path / "relayd-20260629.log.gz").write_bytes(gzip.compress(line("dated")))
    for name in ("relayd.log.swp", "relayd.logs", "other-relayd.log", "relayd.log.1~", "relayd.log.gz.tmp"):
        (tmp_path / name).write_bytes(line(f"not in {name}"))
    assert found(Logs(path)) == {"dated", *(f"in{end}" for end in packers)}


def test_a_line_that_several_files_have_is_told_once(tmp_path: Path) -> None:
    """While logrotate packs one, or where somebody has made a copy; what was said twice is told twice."""
    path = tmp_path / "relayd.log"
    twice = line("twice") * 2
    (tmp_path / "relayd.log.1").write_bytes(line("old") + twice)
    (tmp_path / "relayd.log.1.gz").write_bytes(gzip.compress(line("old") + twice))
    path.write_bytes(twice + line("new"))
    told = [each.fields["reason"] for each in Logs(path).about(ID, 0.0)]
    assert sorted(told) == ["new", "old", "twice", "twice"]


def test_files_that_ended_before_are_not_opened(tmp_path: Path) -> None:
    """Years of logs cost nothing when yesterday's message is asked for."""
    path = tmp_path / "relayd.log"
    path.write_bytes(line("now"))
    (tmp_path / "relayd.log.1").write_bytes(line("old"))
    os.utime(tmp_path / "relayd.log.1", (1000, 1000))
    assert found(Logs(path), since=1e6) == {"now"}


def test_what_cannot_be_read_is_told_and_hides_nothing(tmp_path: Path) -> None:
    """A packed file that is cut off or is none, a folder, a FIFO, and lines of anything between ours."""
    path = tmp_path / "relayd.log"
    path.write_bytes(
        b"\xff\x00" + ID.encode() + b"\n" + line("good") + b"torn " + ID.encode() + b" {\n" + line("last")
    )
    (tmp_path / "relayd.log.1.gz").write_bytes(gzip.compress(line("cut off") * 5000)[:-20])
    (tmp_path / "relayd.log.2.gz").write_bytes(b"no gzip")
    (tmp_path / "relayd.log.3").mkdir()
    os.mkfifo(tmp_path / "relayd.log.4")
    (tmp_path / "relayd.log.5.xz").write_bytes(b"no xz")
    logs = Logs(path)
    assert {"good", "last"} <= found(logs)
    told = [each.removeprefix(f"{tmp_path}/").partition(" ")[0] for each in logs.troubles]
    assert told == [f"relayd.log.{end}" for end in ("1.gz", "2.gz", "3", "4", "5.xz")]
    found(logs)
    assert len(logs.troubles) == 5


def test_a_folder_that_is_not_there_is_a_trouble(tmp_path: Path) -> None:
    """And no traceback."""
    logs = Logs(tmp_path / "nowhere" / "relayd.log")
    assert found(logs) == set()
    assert logs.troubles == [f"{tmp_path}/nowhere cannot be read: No such file or directory"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12).map(lambda each: each.replace(b"\n", b"-"))), st.integers(1, 9))
def test_lines_are_found_wherever_portions_end(lines: list[bytes], size: int) -> None:
    """As a search line by line finds them."""
    lines = [*lines, b"with a word", b"without", b"word"]
    whole = b"\n".join(lines)
    portions = [whole[place : place + size] for place in range(0, len(whole), size)]
    assert list(lines_with(portions, b"word")) == [each for each in lines if b"word" in each]


def test_what_never_ends_is_not_kept() -> None:
    """A file that is no log: it must not fill the memory."""
    portions = [b"x" * (1 << 20)] * 8 + [b"\na word\n"]
    assert list(lines_with(portions, b"word")) == [b"a word"]


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_line_after_a_torn_one_is_found(tmp_path: Path, format: Format) -> None:
    """What a full disk has left."""
    path = tmp_path / "relayd.log"
    path.write_bytes(line("torn", format=format)[:60] + b"\n" + line("whole", format=format))
    assert found(Logs(path)) == {"whole"}
