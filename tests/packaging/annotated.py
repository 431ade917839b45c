"""The annotated configuration, read as a text: tables, keys, what each means, and what it shows as the value.

Knows the form of etc/relayd.toml (its first lines tell it) and nothing of relayd. A line that has another form is
a ValueError with its number, so that nothing which somebody writes there is left out of the manual.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TABLE = re.compile(r'#?(\[\[?[\w."]+\]\]?)')
_SETTING = re.compile(r'#?("[^"]+"|\w+) = (.+)')
_DEFAULT = "Default:"


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the value in the file: the default, or an example where the text says on what it depends."""

    name: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A block of the file: what it says in paragraphs, then keys, or lines to copy."""

    text: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    example: tuple[str, ...] = ()


@dataclass(slots=True)
class Table:
    """A table ("[relay]", "[[listener]]"; "" is the top of the file) and its blocks."""

    name: str
    text: tuple[str, ...] = ()
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class _Block:
    """What stands between two empty lines."""

    paragraphs: list[str] = field(default_factory=list)
    table: str = ""
    settings: list[tuple[str, str]] = field(default_factory=list)
    example: list[str] = field(default_factory=list)


def tables(path: Path) -> list[Table]:
    """The file's tables in their order; the first is its head, whose entries are what it says of itself."""
    found = [Table("")]
    for block in _blocks(path.read_text("utf-8")):
        text = tuple(block.paragraphs)
        if block.table:
            found.append(Table(block.table, text))
        elif block.settings and block.settings[0][0].startswith('"'):
            # A domain of [routes]: nothing has it by default.
            lines = tuple(f"{name} = {value}" for name, value in block.settings)
            found[-1].entries.append(Entry(text, example=lines))
        else:
            # A table with a domain in its name is an example as a whole.
            depends = '"' in found[-1].name or any(_DEFAULT in paragraph for paragraph in text)
            keys = tuple(Key(name, value, not depends) for name, value in block.settings)
            found[-1].entries.append(Entry(text, keys, tuple(block.example)))
    return found


def _blocks(text: str) -> Iterator[_Block]:
    block, is_empty, goes_on = _Block(), True, False
    for number, line in enumerate(text.splitlines(), 1):
        if not line:
            if not is_empty:
                yield _without_edges(block)
            block, is_empty, goes_on = _Block(), True, False
            continue
        is_empty = False
        if line == "#":
            goes_on = False
            if block.example:
                block.example.append("")
        elif line.startswith("#    "):
            block.example.append(line[5:])
        elif line.startswith("# "):
            if block.example:
                # Prose after lines to copy is the next thing that is said.
                yield _without_edges(block)
                block, goes_on = _Block(), False
            if goes_on:
                block.paragraphs[-1] += " " + line[2:].strip()
            else:
                block.paragraphs.append(line[2:].strip())
            goes_on = True
        elif table := _TABLE.fullmatch(line):
            block.table = table[1]
        elif setting := _SETTING.fullmatch(line):
            block.settings.append((setting[1], setting[2]))
        else:
            raise ValueError(f"line {number}: neither text, nor a table, nor a key: {line}")
    if not is_empty:
        yield _without_edges(block)


def _without_edges(block: _Block) -> _Block:
    while block.example and not block.example[-1]:
        block.example.pop()
    return block
