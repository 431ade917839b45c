"""A line: one event as text for people (`time relayd[pid] event key=value …`) or as JSON. Pure.

Whatever a peer sent, it stays one line of printable characters and at most LONGEST octets: what is not printable
is escaped, what is too long loses its middle and shows it by `…`. It does not fail for any value.
"""

import json
from datetime import datetime
from typing import Any, Literal

import msgspec

from relayd.base.events import Event

Format = Literal["text", "json"]

# With the newline; several processes write to one pipe, which takes no more than this in one piece.
LONGEST = 4000
# How much of each value is kept when the line is too long, from generous to what always fits.
_LENGTHS = (1500, 600, 200, 50, 15)


def render(event: Event, format: Format, at: datetime, pid: int) -> bytes:
    """The event's line with its newline; `at` is UTC."""
    encode = _as_json if format == "json" else _as_text
    # Cheaper than strftime, and the same.
    time = at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    name = str(event.__struct_config__.tag)
    fields = _fields(event)
    line = encode(time, pid, name, fields)
    for length in _LENGTHS:
        if len(line) < LONGEST:
            break
        line = encode(time, pid, name, {key: _short(value, length) for key, value in fields.items()})
    return line + b"\n"


def _fields(event: Event) -> dict[str, Any]:
    """What the event says, in the order in which its class declares it."""
    return {
        field: value
        for field in event.__struct_fields__
        if (value := getattr(event, field)) is not None and value != ""
    }


def _short(value: Any, length: int) -> Any:
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 2 :]}"


def _as_text(time: str, pid: int, name: str, fields: dict[str, Any]) -> bytes:
    words = [f"{time} relayd[{pid}] {name}"]
    words += [f"{key}={_word(value)}" for key, value in fields.items()]
    return " ".join(words).encode()


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"' if " " in text else text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _as_json(time: str, pid: int, name: str, fields: dict[str, Any]) -> bytes:
    record = {"time": time, "pid": pid, "event": name}
    record.update((key, round(value, 3) if isinstance(value, float) else value) for key, value in fields.items())
    try:
        line = msgspec.json.encode(record)
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
