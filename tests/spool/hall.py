"""A hall: one spool in memory with a worker's side, a delivery side, and a person who moves files."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from relayd.base import events
from relayd.spool.envelope import Envelope, pack
from relayd.spool.ids import Ids
from relayd.spool.intake import Intake
from relayd.spool.job import Job, Notice, Settlement
from relayd.spool.journal import Journal
from relayd.spool.layout import name_of
from relayd.spool.outcome import Entry, Outcome
from relayd.spool.queue import Queue
from tests.spool.crash import LAYOUT, memory_disk, queue_on
from tests.spool.exchange import START, envelope
from tests.spool.memory_disk import MemoryDisk

MAIL = b"Subject: hello\r\n\r\nHello.\r\n"
NOW = START.timestamp()
DAY = 86_400.0
LATER = START + timedelta(hours=1)
ID = "01234567890123456"
OTHER = "01234567890123457"


def message(*recipients: str, mail_data: bytes = MAIL, of: Envelope | None = None) -> bytes:
    """A message file."""
    return pack(of or envelope(*recipients)) + mail_data


@dataclass
class Hall:
    """The clock stands at START until somebody lets it go on."""

    disk: MemoryDisk = field(default_factory=memory_disk)
    told: list[events.Event] = field(default_factory=list)
    ids: Ids = field(default_factory=lambda: Ids(now=lambda: int(NOW * 1e9), draw=lambda below: 7))

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A delivery process begins."""
        self.disk.locks_die()
        self.queue: Queue = queue_on(self.disk, self.told)
        self.found = self.queue.recover()

    # The worker.

    def commit(self, *recipients: str) -> str:
        """Bring a message in; its name."""
        intake = Intake(LAYOUT, 0, disk=self.disk, ids=self.ids, now=self.disk.clock)
        draft = intake.begin(envelope(*recipients))
        draft.write(MAIL)
        (name,) = intake.commit([draft])
        assert isinstance(name, str)
        return name

    # The person.

    def put(
        self, state: str, message_id: str = ID, mtime: float | None = None, content: bytes | None = None
    ) -> str:
        """Put a message somewhere; its name."""
        content = message() if content is None else content
        name = name_of(message_id, len(content))
        self.disk.put(LAYOUT.message(state, name), content, mtime)
        return name

    def move(self, name: str, source: str, target: str) -> None:
        """`mv`."""
        self.disk.rename(LAYOUT.message(source, name), LAYOUT.message(target, name))

    def copy(self, name: str, source: str, target: str) -> None:
        """`cp`."""
        self.disk.put(LAYOUT.message(target, name), self.disk.take_all(LAYOUT.folder(source))[name])

    def where(self) -> dict[str, list[str]]:
        """What is in the folders for messages."""
        return {
            state: sorted(names)
            for state in ("tmp", "new", "cur", "hold", "failed")
            if (names := self.disk.take_all(LAYOUT.folder(state)))
        }

    # The disk.

    def have_fail(self, operation: str, error: int, path: str = "") -> Callable[[str, str], None]:
        """Have an operation fail wherever `path` is in its path; give the fault that was there before."""
        calm = self.disk.fault

        def fault(each: str, at: str) -> None:
            if each == operation and path in at:
                raise OSError(error, os.strerror(error), at)

        self.disk.fault = fault
        return calm

    def fill(self) -> None:
        """Leave no octet free on the disk, but for what is reserved."""
        self.disk.capacity = self.disk.used

    # The delivery process.

    def look(self) -> None:
        """Read the folders."""
        self.queue.scan("new")
        self.queue.scan("cur")

    def take(self, now: float = NOW) -> list[Job]:
        """Read the folders and claim what is due."""
        self.look()
        return self.queue.take(10, now)

    def job(self, now: float = NOW) -> Job:
        """The only one that is due."""
        (job,) = self.take(now)
        return job

    def settle(self, job: Job, *outcomes: Outcome, notices: tuple[Notice, ...] = ()) -> bool:
        """End an attempt; the next one is LATER."""
        return self.queue.settle(Settlement(job, outcomes, LATER, notices))

    def journal(self, name: str) -> list[Entry]:
        """What the journal of a message says."""
        return Journal(self.disk, LAYOUT, name.partition(",")[0]).read()

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.disk.clock.seconds += seconds

    def set_aside(self) -> dict[str, str]:
        """Why files were set aside, by what the log calls them."""
        return {
            event.id: event.reason
            for event in self.told
            if isinstance(event, events.QueueMoved) and event.reason != "by the operator"
        }

    def troubles(self) -> list[str]:
        """What went wrong with the disk, as it was told."""
        return [event.reason for event in self.told if isinstance(event, events.SpoolTrouble)]
