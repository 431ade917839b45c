"""A backlog: many message files made at once, as a queue has them that has been collecting for hours.

Written directly into the folders of a spool, without a sync for each; nothing runs there meanwhile.
"""

import os
import random
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from relayd.smtp.reply import reply
from relayd.spool.envelope import Envelope, Recipient, pack
from relayd.spool.ids import Ids, arrival
from relayd.spool.layout import name_of
from relayd.spool.outcome import Entry, Kind, Outcome, Scheduled
from tests.world.relay import USER

_BODY = b"Subject: One of many\r\n\r\n" + b"All of these lines wait for somebody who is not there.\r\n" * 15
_REFUSED = reply(451, "4.4.1", "Connection refused")
# A queue of hours: when its messages came, and when they are due, at the earliest and at the latest.
_CAME = (6 * 3600.0, 600.0)
_DUE = (1200.0, 3.8 * 3600.0)


def fill_waiting(spool: Path, count: int, domains: list[str]) -> None:
    """Put so many messages into cur/, each with the journal of two attempts, due in the next hours."""
    dice = random.Random(1)
    for path, message_id, recipient in _written(spool / "cur", count, domains, _CAME):
        due = time.time() + dice.uniform(*_DUE)
        journal = spool / "journal" / message_id
        journal.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in _entries(recipient, due)))
        _give(journal)
        os.utime(path, (due, due))
    os.sync()


def fill_fresh(folder: Path, count: int, domain: str) -> None:
    """Put so many messages that came just now into a folder beside the spool."""
    for _ in _written(folder, count, [domain], (10.0, 0.0)):
        pass
    os.sync()


def _written(
    folder: Path, count: int, domains: list[str], came: tuple[float, float]
) -> Iterator[tuple[Path, str, str]]:
    """Write message files; give each with its ID and where it is to go."""
    first, last = (time.time_ns() - round(1e9 * seconds) for seconds in came)
    instants = iter(range(first, last, max(1, (last - first) // count)))
    ids = Ids(now=lambda: next(instants))
    for number in range(count):
        message_id = ids.next()
        domain = domains[number % len(domains)]
        envelope = Envelope(
            arrived=datetime.fromtimestamp(arrival(message_id), UTC),
            reverse_path=f"sender{number}@source.test",
            recipients=(Recipient(f"user{number}@{domain}"),),
            session="bench",
            client="127.0.0.1:50000",
            helo="source.test",
        )
        content = pack(envelope) + _BODY
        path = folder / name_of(message_id, len(content))
        path.write_bytes(content)
        _give(path)
        yield path, message_id, domain


def _entries(domain: str, due: float) -> list[Entry]:
    entries: list[Entry] = []
    now = datetime.now(UTC)
    for attempt, at in ((1, now - timedelta(minutes=10)), (2, now)):
        entries.append(
            Outcome(
                at=at,
                recipients=(0,),
                kind=Kind.DEFERRED,
                reply=_REFUSED,
                attempt=attempt,
                exchanger=f"mx.{domain}",
                address="127.0.0.9",
            )
        )
        entries.append(Scheduled(at=at, attempt=attempt, next=datetime.fromtimestamp(due, UTC)))
    return entries


def _give(path: Path) -> None:
    path.chmod(0o600)
    if USER:
        shutil.chown(path, USER)
