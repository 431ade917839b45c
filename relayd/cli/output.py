"""Output: how the commands speak: lines for people, tables, JSON, and complaints on standard error."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

# What has no end: a path, a name or a number that somebody gave us and that is repeated in the line.
_ENDLESS = re.compile(r"(\S{120})\S{80,}(\S{20})")


def complain(line: str) -> None:
    """One line of error, with our name before it and nothing in it that a terminal would obey."""
    shortened = _ENDLESS.sub(r"\1…\2", clean(line))
    print(f"relayd: {shortened}", file=sys.stderr)


def clean(text: str) -> str:
    """The text with each character that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def as_json(value: Any) -> str:
    """The value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def table(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of equal length as aligned lines; `right` are the columns that are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # One form for all rows, since there may be many.
    form = "  ".join(f"{{:{'>' if column in right else '<'}{width}}}" for column, width in enumerate(widths))
    return [form.format(*row).rstrip() for row in rows]


def octets(count: int) -> str:
    """A size for people: "840 B", "4.2 kB", "18.0 MB"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A number and its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"
