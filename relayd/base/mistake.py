"""Mistakes: the error of the configuration, and how a key or a value is shown in it.

Whatever stands in the file, an error stays one line that a terminal shows as it is.
"""

import json
import re
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LONGEST_VALUE = 60


class ConfigError(Exception):
    """One line: file, table, key, value, and what is allowed. The command line exits with status 2."""

    def __init__(self, line: str) -> None:
        super().__init__(_printable(line))


def shown_key(key: str) -> str:
    """A key as TOML writes it, with quotes where it needs them."""
    return _shortened(key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False))


def shown_value(value: Any) -> str:
    """A value as TOML writes it, at most 60 characters of it, and no password that stands before an @."""
    return _shortened(_toml(value))


def _toml(value: Any, depth: int = 4) -> str:
    # The depth is the file's to choose and the stack ours: what is deeper would be cut off anyway.
    if isinstance(value, (dict, list)) and not depth:
        return "…"
    if isinstance(value, dict):
        pairs = (f"{shown_key(key)} = {_toml(each, depth - 1)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each, depth - 1) for each in value) + "]"
    if isinstance(value, str):
        # As in a URL; the log has the line too.
        before, _, host = value.rpartition("@")
        value = f"…@{host}" if ":" in before else value
    if isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _shortened(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
