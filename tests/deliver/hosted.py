"""Three domains at one exchanger, whose limits they share, and what came of their mail there."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from relayd.base.sections import Limit
from relayd.deliver.destination import Destination
from relayd.deliver.parcel import Parcel
from relayd.deliver.quotas import Quotas
from tests.deliver.making import job, parcel
from tests.deliver.town import ONE, Town, left
from tests.world.exchanger import Exchanger
from tests.world.session import Session

HOSTED = """
a.test. 60 IN MX 10 mx.example.net.
b.test. 60 IN MX 10 mx.example.net.
c.test. 60 IN MX 10 mx.example.net.
"""
ZONE = ONE + HOSTED


class Open:
    """How many sessions an exchanger has open, and the most it had at once; one ends with its QUIT.

    It has other things to do for so many seconds first.
    """

    def __init__(self, exchanger: Exchanger, *, slow_seconds: float = 0.0) -> None:
        self._slow_seconds = slow_seconds
        self._lock = threading.Lock()
        self._open = 0
        self.most = 0
        exchanger.replies = {"CONNECT": self._comes, "QUIT": self._goes}

    def _comes(self, session: Session, line: bytes) -> None:
        with self._lock:
            self._open += 1
            self.most = max(self.most, self._open)

    def _goes(self, session: Session, line: bytes) -> None:
        time.sleep(self._slow_seconds)
        with self._lock:
            self._open -= 1


def limited(town: Town, **limits: Limit) -> Town:
    """The same town with these limits; a dot in a name is an underscore."""
    quotas = Quotas({name.replace("_", "."): limit for name, limit in limits.items()})
    town.means = replace(town.means, quotas=quotas)
    return town


def to(domain: str, count: int, first: int = 0) -> list[Parcel]:
    """So many parcels to a domain, numbered from the first."""
    return [
        parcel(job(f"bob@{domain}", message_id=f"{number:017}"), destination=domain)
        for number in range(first, first + count)
    ]


def domains(exchanger: Exchanger) -> list[str]:
    """Whose mail came, in order."""
    return [message.recipients[0].decode().partition("@")[2][:-1] for message in exchanger.messages]


async def all_left(town: Town, destinations: Sequence[Destination]) -> None:
    """Wait until nobody is under way."""
    for each in destinations:
        await left(town, each)


def mails(session: Session) -> int:
    """How many transactions a session has had."""
    return sum(line.startswith(b"MAIL") for line in session.lines)
