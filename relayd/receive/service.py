"""A service: what sessions need of the process that serves them, and what it needs of them. Types only.

So a connection knows no worker, and a worker holds whatever keeps to this.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from relayd.base.sections import Config
from relayd.receive.auth import Authenticator
from relayd.receive.door import Door
from relayd.receive.guard import Guard
from relayd.receive.policy import Policy
from relayd.receive.record import Record
from relayd.smtp.census import Census
from relayd.spool.errors import SpoolError
from relayd.spool.ids import Ids
from relayd.spool.intake import Draft, Intake


class Served(Protocol):
    """A session, as its service ends it."""

    def sweep(self, now: float, timeout: float) -> None:
        """Look at the deadlines; the clock is the loop's."""

    def retire(self, *, at_once: bool) -> None:
        """End with a 421, when nothing is owed; `at_once` between two commands too."""

    def abandon(self) -> None:
        """The process ends, and waits no longer."""


class Service(Protocol):
    """One process with many sessions."""

    config: Config
    version: str
    loop: asyncio.AbstractEventLoop
    ids: Ids
    policy: Policy
    intake: Intake
    record: Record
    census: Census
    door: Door
    guard: Guard
    authenticator: Authenticator | None
    tls: ssl.SSLContext | None
    is_retiring: bool

    @property
    def open_sessions(self) -> int:
        """How many there are now."""

    def opened(self, session: Served) -> int:
        """A session began; give how many there are now."""

    def closed(self, session: Served) -> int:
        """Nothing of a session is left; give how many there are now."""

    def in_thread(self, work: Callable[[], None], done: Callable[[object], None]) -> None:
        """Do the slow part of a large message; `done` gets what came of it, an exception included."""

    def commit(self, draft: Draft, done: Callable[[object], None]) -> None:
        """Make a draft a message, in a group with others; `done` gets its name or an exception."""

    def spool_trouble(self, error: Exception) -> SpoolError:
        """The spool could not do its part; give what its client is told."""
