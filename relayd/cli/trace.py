"""`relayd trace`: one message's life as a timeline, from the log, its journal and the ledger.

It needs no running relay, and works after the message is gone, as long as the log or the ledger has it. The ID may
be that of a message, of a notification or of a session.
"""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from relayd.base import units
from relayd.base.config import Config
from relayd.base.line import Read, word
from relayd.base.logs import Logs
from relayd.base.mistake import ConfigError
from relayd.cli.arguments import configuration
from relayd.cli.output import as_json, clean, complain, plural
from relayd.cli.queue.list import next_in_words
from relayd.cli.timeline import ACCEPTED, QUEUED, Happening, is_about, is_of_session, timeline
from relayd.spool import journal
from relayd.spool.disk import Disk
from relayd.spool.errors import NoSuchMessage, NotSound, WrongSpool
from relayd.spool.ids import arrival, is_id
from relayd.spool.layout import Layout
from relayd.spool.ledger import Fate, Line
from relayd.spool.outcome import Entry
from relayd.spool.past import lines_about
from relayd.spool.view import Details, View

_FAILED = 1


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    message_id = arguments.id
    if not is_id(message_id):
        raise ConfigError(
            f'"{message_id}" is no ID; an ID is 17 digits and small letters, as clients hear it after "queued as"'
        )
    config = configuration(arguments)
    logs = Logs(_log_file(config, arguments.log))
    details, entries, ledger = _from_spool(config, message_id, is_needed=arguments.log is None)
    told = _from_log(logs, message_id, details)
    envelope = None if details is None else details.envelope
    life = timeline(message_id, told, entries, ledger, envelope)
    if not logs.files():
        complain(f"no log at {logs.path}: name the log with --log FILE")
    for trouble in logs.troubles:
        complain(trouble)
    if not life and details is None:
        complain(f"nothing is known of {message_id}: not in {config.spool.directory}, not in {logs.path}")
        return _FAILED
    is_session = any(each.fields.get("session") == message_id for each in life)
    where = "a session" if is_session else _where(details, ledger)
    if arguments.json:
        print(as_json({"id": message_id, "state": where, "events": list(_records(life))}))
        return 0
    print(clean(f"{message_id}  {where}"))
    for line in _lines(life, message_id):
        print(clean(line))
    return 0


def _log_file(config: Config, named: Path | None) -> Path:
    """The log to read: without one in the configuration, the one that a start in the background writes."""
    if named is not None and not named.exists():
        raise FileNotFoundError(2, "not there", str(named))
    return named or config.log.file or config.spool.directory / "relayd.log"


def _from_spool(
    config: Config, message_id: str, *, is_needed: bool
) -> tuple[Details | None, Sequence[Entry], list[Line]]:
    """The message where it is still there, its journal, and its lines of the ledger.

    A log alone may be looked at on another machine; then a spool is not needed.
    """
    layout, disk = Layout(str(config.spool.directory)), Disk()
    try:
        details = View(config.spool.directory).details(message_id, datetime.now(UTC))
    except NoSuchMessage:
        return None, _orphaned(layout, disk, message_id), list(lines_about(message_id, layout, disk))
    except (FileNotFoundError, WrongSpool):
        if is_needed:
            raise
        return None, (), []
    return details, details.entries, list(lines_about(message_id, layout, disk))


def _orphaned(layout: Layout, disk: Disk, message_id: str) -> Sequence[Entry]:
    """A journal whose message is gone: it stays until that is on the medium."""
    try:
        return journal.parse(journal.read(disk, layout.journal(message_id)))[0]
    except (FileNotFoundError, NotSound):
        return ()


def _from_log(logs: Logs, message_id: str, details: Details | None) -> list[Read]:
    """What the log says of the message, and of the session in which it came."""
    since = arrival(message_id)
    told = [said for said in logs.about(message_id, since) if is_about(said, message_id)]
    sessions = {
        str(said.fields["session"]) for said in told if said.event == ACCEPTED and "session" in said.fields
    }
    if details is not None and details.envelope is not None:
        sessions.add(details.envelope.session)
    for session in sessions - {message_id}:
        if is_id(session):
            told += [said for said in logs.about(session, arrival(session)) if is_of_session(said, session)]
    return told


def _where(details: Details | None, ledger: Sequence[Line]) -> str:
    """What has become of it, in words."""
    if details is not None:
        item = details.item
        if item.reason:
            return f"in {item.state}/: {item.reason}"
        following = "" if item.next is None else f", next attempt {next_in_words(item, datetime.now(UTC))}"
        return f"in {item.state}/, {item.open} of {plural(item.total, 'recipient')} open{following}"
    accepted = {index for line in ledger if line.fate is Fate.ACCEPTED for index in line.recipients}
    if not accepted:
        return "not in the spool"
    fates: dict[int, Fate] = {}
    for line in ledger:
        if line.fate is not Fate.ACCEPTED:
            for index in line.recipients:
                fates.setdefault(index, line.fate)
    counts = [
        f"{count} {fate.value}" for fate in Fate if (count := sum(each is fate for each in fates.values())) > 0
    ]
    unknown = len(accepted - fates.keys())
    counts += [f"{unknown} unaccounted for (see relayd audit)"] if unknown else []
    return f"{'gone' if unknown else 'done'}: {', '.join(counts)}"


def _began(life: Sequence[Happening]) -> datetime:
    """When the message came; what was before it was its session."""
    came = (each.at for each in life if each.event in (ACCEPTED, QUEUED))
    return next(came, life[0].at if life else datetime.now(UTC))


def _records(life: Sequence[Happening]) -> Iterator[dict[str, Any]]:
    began = _began(life)
    for each in life:
        yield {
            "at": each.at,
            "offset_s": round((each.at - began).total_seconds(), 3),
            "event": each.event,
            "sources": each.sources,
            "fields": each.fields,
        }


def _lines(life: Sequence[Happening], message_id: str) -> Iterator[str]:
    began = _began(life)
    day = None
    for each in life:
        if each.at.date() != day:
            day = each.at.date()
            yield f"{day}, UTC"
        said = " ".join(
            f"{key}={word(value)}"
            for key, value in each.fields.items()
            if not (key == "id" and value == message_id)
        )
        time = each.at.strftime("%H:%M:%S.%f")[:-3]
        yield f"  {time}  {_offset(each.at - began):>9}  {each.event:<19} {said}  [{' '.join(each.sources)}]"


def _offset(passed: timedelta) -> str:
    """How long after the message came, or before: "+0.012s", "+5m 3s"."""
    seconds = passed.total_seconds()
    sign = "-" if seconds < 0 else "+"
    return sign + (f"{abs(seconds):.3f}s" if abs(seconds) < 60 else units.in_words(abs(seconds)))
