"""A timeline: one message's life, put together from what the log, its journal and the ledger say of it. Pure.

The three tell of the same things: what is one happening by kind, attempt and time is one entry, with all its
sources. Of the log only that counts which the relay says of the message itself, and of its session: an ID that a
client or an exchanger has put into its own words is none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from relayd.base.line import Read
from relayd.spool.envelope import Envelope
from relayd.spool.ledger import Fate, Line
from relayd.spool.outcome import Entry, Kind, Notified, Outcome

ACCEPTED = "message.accepted"
QUEUED = "dsn.queued"
_OMITTED = "dsn.omitted"
_DELIVERED = "delivery.delivered"
_FAILED = "delivery.failed"
_REMOVED = "queue.removed"
_SCHEDULED = "scheduled"

# Our own words about a message, where its ID is not a field but stands in the text.
_IN_WORDS = {"bug": "where", "spool.failed": "reason"}

_EVENTS = {
    Kind.DELIVERED: _DELIVERED,
    Kind.RELAYED: _DELIVERED,
    Kind.DEFERRED: "delivery.deferred",
    Kind.FAILED: _FAILED,
    Kind.EXPIRED: _FAILED,
    Kind.IN_DOUBT: "delivery.in_doubt",
}
# What the ledger calls it, and which entries it may be of.
_FATES = {
    Fate.ACCEPTED: (ACCEPTED, QUEUED),
    Fate.DELIVERED: (_DELIVERED,),
    Fate.FAILED: (_FAILED,),
    Fate.UNDELIVERABLE: (_FAILED,),
    Fate.REMOVED: (_REMOVED,),
}
# The log's line of something is written a moment later than the journal's, the ledger's when the disk lets it.
_SAME = timedelta(seconds=10)


@dataclass(slots=True)
class Happening:
    """One entry; `at` is UTC, `fields` are those of the event, as far as somebody has told them."""

    at: datetime
    event: str
    fields: dict[str, Any]
    sources: list[str] = field(default_factory=list)


def is_about(said: Read, message_id: str) -> bool:
    """Whether a line of the log is about the message, or about the session of this ID."""
    told = said.fields
    if message_id in (told.get("id"), told.get("about"), told.get("session")):
        return True
    return said.event in _IN_WORDS and message_id in str(told.get(_IN_WORDS[said.event], ""))


def is_of_session(said: Read, session: str) -> bool:
    """Whether a line tells of the session itself, rather than of one of its messages."""
    return said.fields.get("session") == session and "id" not in said.fields


def timeline(
    message_id: str,
    log: Iterable[Read],
    journal: Sequence[Entry],
    ledger: Iterable[Line],
    envelope: Envelope | None,
) -> list[Happening]:
    """All of it, in the order of time."""
    life = [Happening(said.at, said.event, dict(said.fields), ["log"]) for said in log]
    for entry in journal:
        _enter(life, _from_journal(entry, message_id, envelope))
    for line in ledger:
        if line.fate in _FATES:
            _enter_line(life, line, envelope)
    # What came in came first, when clocks of two lines differ by less than they can say.
    return sorted(life, key=lambda each: (each.at, each.event != ACCEPTED))


def _from_journal(entry: Entry, message_id: str, envelope: Envelope | None) -> Happening:
    if isinstance(entry, Outcome):
        fields: dict[str, Any] = {
            "id": message_id,
            "recipients": _named(entry.recipients, envelope),
            "attempt": entry.attempt,
            "reply": str(entry.reply),
            "exchanger": entry.exchanger,
            "address": entry.address,
        }
        if entry.greeting_s is not None:
            fields["greeting_ms"] = round(entry.greeting_s * 1000, 3)
        told = {key: value for key, value in fields.items() if value != ""}
        return Happening(entry.at, _EVENTS[entry.kind], told, ["journal"])
    if isinstance(entry, Notified):
        if entry.message:
            return Happening(entry.at, QUEUED, {"id": entry.message, "about": message_id}, ["journal"])
        return Happening(entry.at, _OMITTED, {"id": message_id}, ["journal"])
    following = entry.next.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Happening(
        entry.at, _SCHEDULED, {"id": message_id, "attempt": entry.attempt + 1, "next": following}, ["journal"]
    )


def _enter(life: list[Happening], found: Happening) -> None:
    """What the journal has, into what the log has told, or beside it."""
    same = [each for each in life if "journal" not in each.sources and _is_same(each, found)]
    if not same:
        life.append(found)
        return
    nearest = min(same, key=lambda each: (_differs(each, found), abs(each.at - found.at)))
    nearest.at = min(nearest.at, found.at)
    nearest.sources.append("journal")


def _is_same(told: Happening, found: Happening) -> bool:
    if told.event != found.event or abs(told.at - found.at) > _SAME:
        return False
    if found.event in (QUEUED, _OMITTED, _SCHEDULED):
        return bool(told.fields.get("id") == found.fields["id"])
    # Lines of text have all values as texts.
    return all(
        str(told.fields.get(key, "")) == str(found.fields.get(key, ""))
        for key in ("attempt", "exchanger", "address")
    )


def _differs(told: Happening, found: Happening) -> int:
    return sum(told.fields.get(key) != found.fields.get(key) for key in ("recipients", "reply"))


def _enter_line(life: list[Happening], line: Line, envelope: Envelope | None) -> None:
    """The same for the ledger, which knows recipients by their numbers alone."""
    same = [
        each
        for each in life
        if "ledger" not in each.sources and each.event in _FATES[line.fate] and _is_told(each, line)
    ]
    if same:
        nearest = min(same, key=lambda each: abs(each.at - line.at))
        nearest.at = min(nearest.at, line.at)
        nearest.sources.append("ledger")
        return
    fields = {"id": line.id, "recipients": _named(line.recipients, envelope)}
    if line.fate is Fate.UNDELIVERABLE:
        fields["reason"] = "and nobody was told"
    life.append(Happening(line.at, _FATES[line.fate][0], fields, ["ledger"]))


def _is_told(told: Happening, line: Line) -> bool:
    # The notification's own line of dsn.queued, not that of the message which it is about.
    return abs(told.at - line.at) <= _SAME and told.fields.get("id", line.id) == line.id


def _named(indexes: Sequence[int], envelope: Envelope | None) -> str:
    """Recipients by their addresses, as the log has them, or by their numbers where no envelope is left."""
    if envelope is None or any(index >= len(envelope.recipients) for index in indexes):
        return ",".join(f"#{index + 1}" for index in indexes)
    return ",".join(f"<{envelope.recipients[index].address}>" for index in indexes)
