"""`relayd queue list`: one row for each message, or sums by destination, for people and for programs."""

import argparse
import gc
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from relayd.base import units
from relayd.base.config import Config
from relayd.cli.gentle import paced
from relayd.cli.output import as_json, clean, octets, plural, table
from relayd.cli.queue.select import selected
from relayd.spool.view import Item, View

_COLUMNS = ("ID", "state", "age", "size", "from", "open/all", "next", "last reply")
_SHORT = 60


def run(config: Config, arguments: argparse.Namespace) -> int:
    """See the module."""
    # All of it is kept to the end, and looking through it for what is not would take long.
    gc.disable()
    now = datetime.now(UTC)
    items = paced(selected(View(config.spool.directory), arguments, now))
    if arguments.by == "destination":
        _print_sums(list(items), now, as_programs=arguments.json)
    elif arguments.json:
        print(as_json([_record(item, now) for item in items]))
    else:
        _print_rows([_row(item, now) for item in items], is_filtered=arguments.is_filtered)
    return 0


def _print_rows(rows: list[tuple[str, ...]], *, is_filtered: bool) -> None:
    if not rows:
        print("no such message" if is_filtered else "the queue is empty")
        return
    print("\n".join(table([_COLUMNS, *rows], right=frozenset({2, 3, 5}))))
    print(plural(len(rows), "message"))


def _print_sums(items: Sequence[Item], now: datetime, *, as_programs: bool) -> None:
    """For each destination: how many messages, how old the oldest, and what was said last."""
    sums: dict[str, list[Item]] = {}
    for item in items:
        for domain in item.domains:
            sums.setdefault(domain, []).append(item)
    records = [
        {
            "destination": domain,
            "messages": len(each),
            "oldest_s": round(max(item.age(now) for item in each)),
            "last_reply": _last_said(each),
        }
        for domain, each in sorted(sums.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]
    if as_programs:
        print(as_json(records))
        return
    rows: list[tuple[str, ...]] = [("destination", "messages", "oldest", "last reply")]
    rows += [
        (
            clean(str(record["destination"])),
            str(record["messages"]),
            units.in_words(float(str(record["oldest_s"]))),
            _short(str(record["last_reply"] or "")),
        )
        for record in records
    ]
    for line in table(rows, right=frozenset({1, 2})):
        print(line)


def _last_said(items: Sequence[Item]) -> str | None:
    last = max((item.last for item in items if item.last), key=lambda outcome: outcome.at, default=None)
    return None if last is None else str(last.reply)


def _record(item: Item, now: datetime) -> dict[str, Any]:
    """One message for programs; instants are ISO 8601 in UTC, seconds and octets are numbers."""
    return {
        "id": item.id,
        "state": item.state,
        "arrived": item.arrived,
        "age_s": round(item.age(now)),
        "size": item.size,
        "reverse_path": item.reverse_path,
        "open": item.open,
        "total": item.total,
        "attempts": item.attempts,
        "next": item.next,
        "last_kind": item.last.kind if item.last else None,
        "last_reply": str(item.last.reply) if item.last else None,
        "reason": item.reason or None,
    }


def _row(item: Item, now: datetime) -> tuple[str, ...]:
    last = item.reason or (f"{item.last.kind.value}: {item.last.reply}" if item.last else "")
    return (
        clean(item.id),
        item.state,
        units.in_words(item.age(now)),
        octets(item.size),
        "" if item.reason else clean(f"<{item.reverse_path or ''}>"),
        "" if item.reason else f"{item.open}/{item.total}",
        next_in_words(item, now),
        _short(last),
    )


def _short(text: str) -> str:
    return clean(text[:_SHORT] + ("…" if len(text) > _SHORT else ""))


def next_in_words(item: Item, now: datetime) -> str:
    """When it is tried next: "now", "in 5m", or nothing for what is held."""
    if item.next is None:
        return ""
    seconds = (item.next - now).total_seconds()
    return "now" if seconds <= 0 else f"in {units.in_words(seconds)}"
