"""docs/operation.md has what the code has: the events of the log, and the metrics that its alerts name."""

import re
from collections.abc import Iterator
from pathlib import Path

from relayd.base import events
from tests.documents.blocks import blocks

TEXT = (Path(__file__).parents[2] / "docs" / "operation.md").read_text()


def _rows(title: str) -> Iterator[list[str]]:
    """The cells of the table whose first column has this title."""
    is_table = False
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            is_table = False
        elif cells[0] == title:
            is_table = True
        elif is_table and not set(line) <= set("|-"):
            yield cells


def test_every_event_is_in_the_table() -> None:
    """And the table has no other."""
    classes = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Event)]
    public = [each for each in classes if each is not events.Event and not each.__name__.startswith("_")]
    told = [name for cells in _rows("event") for name in re.findall(r"`([^`]+)`", cells[0])]
    assert sorted(told) == sorted(str(each.__struct_config__.tag) for each in public)


def test_alerts_are_about_metrics_that_there_are() -> None:
    """Those that the block above them shows, which is run."""
    shown = {line for block in blocks(TEXT) if block.kind == "console" for line in block.lines}
    named = {name for cells in _rows("alert") for name in re.findall(r"relayd_[a-z_]+", cells[-1])}
    assert named
    assert named <= shown


def test_there_is_help_for_what_goes_wrong() -> None:
    """Fifteen things that people see, each with what to ask and what the answer means."""
    rows = list(_rows("you see"))
    assert len(rows) >= 15
    assert all(len(cells) == 3 and re.search(r"`[^`]+`", cells[1]) for cells in rows)
