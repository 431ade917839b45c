"""Reading: one source's tables, and the form of its error lines.

Knows no table of the configuration by name. Fails with ConfigError, one line that names table, key, value and what
is allowed.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from relayd.base import names, raw
from relayd.base.mistake import ConfigError, shown_key, shown_value

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

_KEY = re.compile(r" - at `\$\.(\w+)")


class Reading:
    """`source` is what the lines begin with: a file, the command line."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, table: str, key: str, value: Any, why: str) -> ConfigError:
        """The error line. `table` comes with its brackets; None is the value of a key that is missing."""
        place = " ".join(part for part in (table, key) if part)
        shown = "" if value is None else f" = {shown_value(value)}"
        return ConfigError(f"{self.source}: {place}{shown}: {why}")

    def value(self, table: str, key: str, written: Any, read: Callable[[Any], T]) -> T:
        """Read one value; its ValueError becomes the error line."""
        try:
            return read(written)
        except ValueError as error:
            raise self.fail(table, key, written, str(error)) from None

    def name(self, table: str, key: str, value: Any, read: Callable[[str], T]) -> T:
        """Read a key that the operator made; its ValueError becomes the error line."""
        try:
            return read(key)
        except ValueError as error:
            raise self.fail(table, shown_key(key), value, str(error)) from None

    def optional(self, table: str, key: str, written: Any, read: Callable[[Any], T]) -> T | None:
        """The same for a key that may be missing."""
        return None if written is None else self.value(table, key, written, read)

    def required(self, table: str, key: str, written: Any) -> str:
        """The path of a file without which the table means nothing."""
        if written is None:
            raise self.fail(table, key, None, f'required; write the path of a file, like "{key}"')
        return self.value(table, key, written, names.path)

    def entries(self, table: str, key: str, written: list[Any], read: Callable[[Any], T]) -> tuple[T, ...]:
        """A list, each of whose entries may be wrong."""
        return tuple(
            self.value(table, f"{key}, entry {number}", entry, read) for number, entry in enumerate(written, 1)
        )

    def check_keys(
        self,
        label: str,
        table: dict[str, Any],
        known: Sequence[str],
        hint: str = "",
    ) -> None:
        """Refuse a key that is unknown; without a label it is a table's.

        `hint` is for one that is like none of them.
        """
        for key, value in table.items():
            if key in known:
                continue
            if near := difflib.get_close_matches(key, known, 1):
                why = f"unknown key; did you mean {near[0]}?"
            else:
                why = f"unknown key; known: {', '.join(known)}{hint}"
            if not label and isinstance(value, dict):
                raise self.fail(f"[{shown_key(key)}]", "", None, why.replace("key", "table", 1))
            # Somebody may have thought that a password stands here; errors go to terminals and logs.
            raise self.fail(label, shown_key(key), None if "pass" in key.lower() else value, why)

    def entry(self, label: str, written: dict[str, Any], kind: type[S]) -> S:
        """A table that the operator named, such as one in [routes]."""
        # Without its quotes TOML takes example.net for a table with a key "net".
        self.check_keys(label, written, kind.__struct_fields__, hint="; a domain is written in quotes")
        try:
            return msgspec.convert(written, kind)
        except msgspec.ValidationError as error:
            place = _KEY.search(str(error))
            if place is None:
                raise ConfigError(f"{self.source}: {label}: {error}") from None
            key = place[1]
            raise self.fail(label, key, written[key], raw.described(kind, key)) from None
