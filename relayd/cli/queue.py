"""`relayd queue list` and `queue show`: the messages that wait, read from the spool itself.

They need no running relay. Everything that came from outside is printed without control characters.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from relayd.base import units
from relayd.cli.arguments import configuration
from relayd.cli.output import as_json, clean, complain, octets, plural, table
from relayd.spool.errors import NoSuchMessage
from relayd.spool.outcome import Entry, Notified, Outcome, Scheduled
from relayd.spool.view import Details, Item, View

_COLUMNS = ("ID", "state", "age", "size", "from", "open/all", "next", "last reply")
_SHORT = 60


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    view = View(configuration(arguments).spool.directory)
    return {"list": _list, "show": _show}[arguments.queue_command](view, arguments)


def _list(view: View, arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    items = list(view.items(now))
    if arguments.json:
        print(as_json([_record(item, now) for item in items]))
    elif not items:
        print("the queue is empty")
    else:
        rows = [_COLUMNS, *(_row(item, now) for item in items)]
        for line in table(rows, right=frozenset({2, 3, 5})):
            print(line)
        print(plural(len(items), "message"))
    return 0


def _show(view: View, arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    try:
        details = view.details(arguments.id, now)
    except NoSuchMessage as error:
        complain(str(error))
        return 1
    if arguments.raw:
        for portion in view.mail_data(details):
            sys.stdout.buffer.write(portion)
        sys.stdout.buffer.flush()
        return 0
    for line in _in_words(view, details, now):
        print(clean(line))
    return 0


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
    last = item.reason or (f"{item.last.kind}: {item.last.reply}" if item.last else "")
    return (
        clean(item.id),
        item.state,
        units.in_words(item.age(now)),
        octets(item.size),
        "" if item.reason else clean(f"<{item.reverse_path or ''}>"),
        "" if item.reason else f"{item.open}/{item.total}",
        _next(item, now),
        clean(last[:_SHORT] + ("…" if len(last) > _SHORT else "")),
    )


def _next(item: Item, now: datetime) -> str:
    if item.next is None:
        return ""
    seconds = (item.next - now).total_seconds()
    return "now" if seconds <= 0 else f"in {units.in_words(seconds)}"


def _in_words(view: View, details: Details, now: datetime) -> Iterator[str]:
    item, envelope = details.item, details.envelope
    arrived = f"arrived {_time(item.arrived)}, {units.in_words(item.age(now))} ago" if item.arrived else ""
    yield f"{item.id}  in {item.state}/  {octets(item.size)}  {arrived}"
    if envelope is None:
        yield f"no sound message: {item.reason}"
        return
    if envelope.client:
        yield f"from client {envelope.client}, which called itself {envelope.helo}, session {envelope.session}"
    yield f"reverse-path  <{envelope.reverse_path or ''}>"
    state = {
        index: entry.kind for entry in details.entries if isinstance(entry, Outcome) for index in entry.recipients
    }
    for index, recipient in enumerate(envelope.recipients):
        yield f"forward-path  <{recipient.address}>  {state.get(index, 'not tried yet')}"
    yield ""
    yield "What happened" if details.entries else "Nothing has happened yet."
    for entry in details.entries:
        yield f"  {_entry(entry, details)}"
    if item.next is not None:
        yield f"  {_time(item.next)}  next attempt, {_next(item, now)}"
    yield ""
    yield "Header"
    for line in view.header(details).decode("utf-8", "replace").split("\r\n")[:-1]:
        yield f"  {line}"


def _entry(entry: Entry, details: Details) -> str:
    match entry:
        case Outcome():
            assert details.envelope is not None
            to = ", ".join(f"<{details.envelope.recipients[index].address}>" for index in entry.recipients)
            where = f" at {entry.exchanger} [{entry.address}]" if entry.exchanger else ""
            greeting = "" if entry.greeting_s is None else f", greeting after {entry.greeting_s * 1000:.1f} ms"
            return f"{_time(entry.at)}  attempt {entry.attempt}: {to} {entry.kind}{where}{greeting}: {entry.reply}"
        case Notified():
            what = f"the sender was told: {entry.message}" if entry.message else "nobody is to be told"
            return f"{_time(entry.at)}  attempt {entry.attempt}: {what}"
        case Scheduled():
            return f"{_time(entry.at)}  attempt {entry.attempt}: to be tried again at {_time(entry.next)}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
