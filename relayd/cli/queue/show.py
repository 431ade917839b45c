"""`relayd queue show`: one message with its envelope, what happened to it, and its header; or its mail data; or
the dialogues of the last attempt that had any.

Everything that came from outside is printed without control characters, but for --raw.
"""

import argparse
import sys
from collections.abc import Iterator, Set
from datetime import UTC, datetime

from relayd.base import units
from relayd.base.config import Config
from relayd.cli.output import clean, complain, octets
from relayd.cli.queue.list import next_in_words
from relayd.spool.errors import NoSuchMessage
from relayd.spool.layout import Layout
from relayd.spool.outcome import Entry, Notified, Outcome, Scheduled
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.view import Details, View


def run(config: Config, arguments: argparse.Namespace) -> int:
    """See the module."""
    view = View(config.spool.directory)
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
    paused = Pause(Layout(str(config.spool.directory))).current()
    for line in _transcript(details) if arguments.transcript else _in_words(view, details, paused, now):
        print(clean(line))
    return 0


def _in_words(view: View, details: Details, paused: Set[str], now: datetime) -> Iterator[str]:
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
    if not details.entries and item.state == "cur":
        yield "  What its destination said last, to any message: relayd queue list --by destination"
    for entry in details.entries:
        yield f"  {_entry(entry, details)}"
    if item.next is not None:
        yield f"  {_time(item.next)}  next attempt, {next_in_words(item, now)}"
    yield from (
        f"  Deliveries to {domain} are paused." for domain in item.domains if {domain, EVERYTHING} & paused
    )
    yield ""
    yield "Header"
    for line in view.header(details).decode("utf-8", "replace").split("\r\n")[:-1]:
        yield f"  {line}"


def _transcript(details: Details) -> Iterator[str]:
    told = [entry for entry in details.entries if isinstance(entry, Outcome) and entry.transcript]
    if not told:
        yield f"the journal of {details.item.id} has no dialogue with an exchanger"
        return
    for entry in told:
        if entry.attempt == told[-1].attempt:
            for each in entry.transcript:
                yield f"{_time(each.at)}  attempt {entry.attempt} at {each.exchanger} [{each.address}]"
                yield from (f"  {line}" for line in each.lines)


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
