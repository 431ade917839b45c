"""A line: one event as text for people (`time relayd[pid] event key=value …`) or as JSON, written and read. Pure.

Whatever a peer sent, it stays one line of printable characters and at most LONGEST octets: what is not printable
is escaped, what is too long loses its middle and shows it by `…`. It does not fail for any value, and
whoever reads passes over what is no line of ours.
"""

import json
import math
import re
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

import msgspec

from relayd.base.events import Event

Format = Literal["text", "json"]

# With the newline; several processes write to one pipe, which takes no more than this in one piece.
LONGEST = 4000
# How much of each value is kept when the line is too long, from generous to what always fits; an ID does always.
_LENGTHS = (1500, 600, 200, 50, 20)
_encode = msgspec.json.Encoder().encode

_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"
# Who collects lines from standard error puts words of his own before them, the machine's name for one.
_AHEAD = r'(?:[^"={\\]{0,200}\s)?'
_TEXT = re.compile(_AHEAD + _TIME + r" relayd\[(\d{1,9})\] ([a-z_.]{1,40})(?= |$)", re.ASCII)
_WORD = re.compile(r' ([a-z0-9_]{1,40})=("(?:[^"\\]|\\.)*"|[^ "]*)')
_JSON = re.compile(_AHEAD + r'(?=\{"time":"' + _TIME + '")', re.ASCII)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


class Read(NamedTuple):
    """A line as it was read: `at` is UTC, the values of `fields` are all texts where the line was text."""

    at: datetime
    pid: int
    event: str
    fields: dict[str, Any]


def render(event: Event, format: Format, at: datetime, pid: int) -> bytes:
    """The event's line with its newline; `at` is UTC."""
    # Much cheaper than isoformat: this is the cost of each message. No fraction is written of a whole second.
    time = (_encode(at)[1:24] if at.microsecond else _encode(at)[1:20] + b".000").decode() + "Z"
    if format == "text":
        plain = _as_plain_text(time, pid, event)
        if plain is not None:
            return plain
    encode = _as_json if format == "json" else _as_text
    name, fields = _shape(type(event)).name, _fields(event)
    line = encode(time, pid, name, fields)
    for length in _LENGTHS:
        if len(line) < LONGEST:
            break
        line = encode(time, pid, name, {key: _short(value, length) for key, value in fields.items()})
    return line + b"\n"


def read(line: str) -> Read | None:
    """What a line of either format says, or None when it is none of ours, or not a whole one."""
    try:
        found = _JSON.match(line)
        if found is not None:
            record = json.loads(line[found.end() :])
            at, pid, event = record.pop("time"), int(record.pop("pid")), str(record.pop("event"))
            return Read(datetime.fromisoformat(at), pid, event, record)
        found = _TEXT.match(line)
        if found is None:
            return None
        fields: dict[str, Any] = {}
        place, line = found.end(), line.rstrip("\r\n")
        while place < len(line):
            word = _WORD.match(line, place)
            if word is None:
                return None
            fields[word[1]] = _unescaped(word[2])
            place = word.end()
        return Read(datetime.fromisoformat(found[1]), int(found[2]), found[3], fields)
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError):
        return None


def _unescaped(word: str) -> str:
    if not word.startswith('"'):
        return word
    return _ESCAPE.sub(
        lambda found: chr(int(code, 16)) if (code := found[1] or found[2] or found[3]) else _control(found[4]),
        word[1:-1],
    )


def _control(letter: str) -> str:
    return _CONTROLS.get(letter, letter)


class _Shape(NamedTuple):
    """What all lines of one class of events have: its name, and in a text what stands before each value."""

    name: str
    keys: tuple[str, ...]


@cache
def _shape(kind: type[Event]) -> _Shape:
    return _Shape(str(kind.__struct_config__.tag), tuple(f" {field}=" for field in kind.__struct_fields__))


def _as_plain_text(time: str, pid: int, event: Event) -> bytes | None:
    """The line of text, with its newline, or None where it is too long or has what is not plain ASCII.

    That is looked for once, in the whole line, which with one pass over the values takes half the time.
    """
    name, keys = _shape(type(event))
    text = f"{time} relayd[{pid}] {name}"
    quotes = 0
    for key, value in zip(keys, msgspec.structs.astuple(event), strict=True):
        kind = type(value)
        if kind is str:
            if " " in value:
                text += f'{key}"{value}"'
                quotes += 2
            elif value:
                text += f"{key}{value}"
        elif kind is int:
            text += f"{key}{value}"
        elif kind is float:
            text += f"{key}{value:.3f}"
        elif value is not None:
            text += key + word(value)
    if len(text) >= LONGEST or not text.isascii() or "\x7f" in text:
        return None
    # All else that is not plain has an escape in JSON too, which is found so in half the time. A value with a
    # quotation mark of its own makes their number a greater one.
    if len(_encode(text)) != len(text) + len('""') + quotes:
        return None
    return f"{text}\n".encode()


def _fields(event: Event) -> dict[str, Any]:
    """What the event says, in the order in which its class declares it."""
    fields = msgspec.structs.asdict(event)
    return {field: value for field, value in fields.items() if value is not None and value != ""}


def _short(value: Any, length: int) -> Any:
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 2 :]}"


def _as_text(time: str, pid: int, name: str, fields: dict[str, Any]) -> bytes:
    words = [f"{key}={word(value)}" for key, value in fields.items()]
    return " ".join((f"{time} relayd[{pid}] {name}", *words)).encode()


def word(value: Any) -> str:
    """A value as it stands behind its key in a line of text."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"' if " " in text else text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _as_json(time: str, pid: int, name: str, fields: dict[str, Any]) -> bytes:
    record = {"time": time, "pid": pid, "event": name, **fields}
    for key, value in fields.items():
        if isinstance(value, float):
            record[key] = _rounded(value)
    try:
        line = _encode(record)
        if line.isascii() and b"\x7f" not in line:
            return line
    except UnicodeEncodeError:
        # A lone surrogate, from a file name that is not UTF-8; not all readers of JSON take its escape.
        record = {
            key: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for key, value in record.items()
        }
    # The standard library's escapes all that is not ASCII, and with it what is not printable.
    return json.dumps(record, separators=(",", ":"), default=str).replace("\x7f", "\\u007f").encode()


def _rounded(value: float) -> float | None:
    # JSON has no word for the others.
    return round(value, 3) if math.isfinite(value) else None
