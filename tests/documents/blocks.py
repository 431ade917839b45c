"""The blocks of a document: what stands between fences, and what is to be done with it. Pure.

The first word behind the fence says it, and shows nowhere when the document is rendered:

    console       commands behind "$ " with what they print below them; they are run, and that is compared
    sh            a script; it is run, and has to end with 0
    toml          a part of the configuration, added to what the document had so far; it has to be a sound one
    toml alone    the same, as all there is from here on
    sh by-hand    not run; REASONS in test_blocks.py says why
    text          nothing that could be run: a picture, a file's content, what somebody says

What a table has in a column called "ask" are commands too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

KINDS = frozenset({"console", "sh", "toml", "toml alone", "sh by-hand", "text"})

_FENCE = re.compile(r"^```(.*)$")
_ID = re.compile(r"\b[0-9][0-9a-hjkmnp-tv-z]{16}\b")
_NUMBER = re.compile(r"\d+")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One block: the number of its first line, its kind, and its lines."""

    line: int
    kind: str
    lines: tuple[str, ...]

    @property
    def first(self) -> str:
        """The line that names it."""
        return self.lines[0] if self.lines else ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the lines that it prints or, in telnet, that are typed and answered."""

    line: int
    words: str
    shown: tuple[str, ...]


def blocks(text: str) -> Iterator[Block]:
    """All blocks between fences; ValueError for a fence that does not end, and for code that is only indented."""
    begin, kind, lines = 0, None, list[str]()
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is not None and kind is None:
            begin, kind, lines = number + 1, fence[1], []
        elif fence is not None and kind is not None:
            yield Block(begin, kind, tuple(lines))
            kind = None
        elif kind is not None:
            lines.append(line)
        elif line.startswith("    ") and not before.strip():
            raise ValueError(f"line {number}: code without a fence, of which nobody knows whether it is run")
        before = line
    if kind is not None:
        raise ValueError(f"line {begin}: a fence that does not end")


def commands(block: Block) -> Iterator[Command]:
    """The commands of a `console` block; one that ends with a backslash goes on in the next line."""
    begin, words, shown = 0, "", list[str]()
    for number, line in enumerate(block.lines, block.line):
        if words.endswith("\\") and not shown:
            words = words[:-1] + line.strip()
        elif line.startswith("$ "):
            if words:
                yield Command(begin, words, tuple(shown))
            begin, words, shown = number, line[2:], []
        elif words:
            shown.append(line)
        else:
            raise ValueError(f"line {number}: printed before there was a command")
    if words:
        yield Command(begin, words, tuple(shown))


def asked(text: str) -> Iterator[Command]:
    """The commands in columns called "ask"."""
    column: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            column = None
        elif "ask" in cells:
            column = cells.index("ask")
        elif column is not None and column < len(cells):
            for words in _CODE.findall(cells[column]):
                yield Command(number, words, ())


def with_id(text: str, real: str) -> str:
    """The text with a real message's ID in the place of the one that documents show."""
    return _ID.sub(real, text)


def differs(shown: Sequence[str], said: Iterable[str]) -> str | None:
    """The first shown line that was not said behind those before it, or None.

    Numbers, IDs and the width of blanks are not compared, `...` stands for anything, and more may be said.
    """
    rest = iter(said)
    for line in shown:
        pattern = _pattern(line)
        if line.strip() not in ("", "...") and not any(pattern.fullmatch(_loose(each)) for each in rest):
            return line
    return None


def _loose(line: str) -> str:
    return " ".join(_NUMBER.sub("0", _ID.sub("0", line)).split())


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _loose(line).split("...")))
