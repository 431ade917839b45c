"""docs/conformance.md: each place in the code and each test that it names is there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[2]
DOCUMENT = TOP / "docs" / "conformance.md"

_CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """One row of a table: its line, what it is about, the places in the code and the tests."""

    line: int
    about: str
    where: list[str]
    tests: list[str]


def rows(text: str) -> Iterator[Row]:
    """The rows of all tables whose last two columns are "where" and "test"."""
    is_table = False
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            is_table = False
        elif cells[-2:] == ["where", "test"]:
            is_table = True
        elif is_table and not set(line) <= set("|-"):
            yield Row(number, " ".join(cells[:-2]), _CODE.findall(cells[-2]), _CODE.findall(cells[-1]))


@cache
def names(path: Path) -> frozenset[str]:
    """What a module defines: functions, classes and constants, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(each.id for each in node.targets if isinstance(each, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return frozenset(found)


def is_there(root: Path, place: str) -> bool:
    """Whether a file, or a name in a module ("smtp/reply.py:Reply", "smtp/test_reply.py::test_x"), is there."""
    file, _, name = place.replace("::", ":").partition(":")
    path = root / file
    return path.is_file() and (not name or name in names(path))


def missing(text: str, top: Path) -> list[str]:
    """What is wrong with the tables, one line each."""
    found = []
    for row in rows(text):
        for place in row.where:
            if not is_there(top / "relayd", place):
                found.append(f"line {row.line}: relayd/{place} is not there")
        for place in row.tests:
            if not is_there(top / "tests", place):
                found.append(f"line {row.line}: tests/{place} is not there")
        if not row.where or not row.tests:
            found.append(f"line {row.line}: {row.about}: without a place or without a test")
    return found


def test_every_place_and_every_test_is_there() -> None:
    """A name that was changed in the code is changed in the table."""
    assert missing(DOCUMENT.read_text(), TOP) == []


def test_the_table_is_whole() -> None:
    """It has what a relay is asked, and none of its chapters is empty."""
    found = list(rows(DOCUMENT.read_text()))
    chapters = {row.about[0] for row in found if row.about[0].isdigit()}
    assert chapters == set("234567")
    assert len(found) > 120


def test_what_departs_is_named() -> None:
    """Each section that has a row that departs has one among the departures."""
    text = DOCUMENT.read_text()
    named = text.partition("## Departures")[2]
    departing = [row for row in rows(text) if "departs" in row.about.split(" ", 3)[1:3]]
    assert departing
    for row in departing:
        section = row.about.split()[0]
        assert re.search(rf"(?m)^\|[^|]*(?<![\d.]){re.escape(section)}(?![\d.])[^|]*\|", named), row.about


def test_a_place_that_is_not_there_is_found() -> None:
    """The check itself: a file, a name and a test that nobody has, and a row without a test."""
    text = (
        "| section | where | test |\n|---|---|---|\n"
        "| 1 | `smtp/nowhere.py` | `smtp/test_reply.py::test_every_reply_has_an_enhanced_status` |\n"
        "| 2 | `smtp/reply.py:Nobody` | `smtp/test_reply.py::test_nothing` |\n"
        "| 3 | `smtp/reply.py:Reply` | |\n"
    )
    assert len(missing(text, TOP)) == 4
