"""The load: processes that take mail in, and one that delivers, until the power fails or they are ended.

They do with a spool what the workers and the delivery process do, faster. Each thing is told as a fact the moment
it is true. `Careless` disks leave a kind of sync out: a harness that does not find those is blind.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from relayd.base import events
from relayd.spool.disk import Disk
from relayd.spool.intake import LARGE, WHOLE, Intake
from relayd.spool.layout import Layout
from relayd.spool.outcome import Kind
from relayd.spool.queue import Queue
from tests.crash.facts import Teller
from tests.crash.town import Town
from tests.crash.works import MENDED, Alone

_LARGEST_GROUP = 12
# Once a second in the real process; more often here, so that more of what is durable is met by a cut.
_TIDY_SECONDS = 0.1
_TAKEN_AT_ONCE = 20
# Between two groups, in seconds at most: some loads leave a long queue, some let delivery keep up.
_PAUSES = (0.0, 0.03, 0.1)


# Of each way to the medium some: written as it comes, synced before it is seen, synced with its name.
_SIZES, _SHARES = (2 * LARGE, 2 * WHOLE, 2000), (2, 10, 88)


class Careless(Disk):
    """Syncs no files, or no folders, or neither."""

    def __init__(self, *, files: bool, folders: bool) -> None:
        self._files = files
        self._folders = folders

    def sync(self, fd: int) -> None:
        if not self._files:
            super().sync(fd)

    def sync_folder(self, path: str) -> None:
        if not self._folders:
            super().sync_folder(path)


class AfterACut(Alone):
    """The machine began when this process did: so it looks at what the one before has left."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.time()

    def started(self) -> float:
        return self._started


DISKS: dict[str, Callable[[], Disk]] = {
    "": AfterACut,
    "no fsync": lambda: Careless(files=True, folders=True),
    "no fsync of files": lambda: Careless(files=True, folders=False),
    "no fsync of folders": lambda: Careless(files=False, folders=True),
}


def take_in(root: str, facts: Path, seed: int, disk: str) -> None:
    """A worker: groups of messages, as they come together while the group before is committed."""
    dice = random.Random(seed)
    town = Town(Teller(facts))
    intake = Intake(Layout(root), 0, disk=DISKS[disk]())
    pause = dice.choice(_PAUSES)
    while True:
        drafts = [
            town.write(intake, dice.choice((1, 1, 2, 4)), *dice.choices(_SIZES, _SHARES))
            for _ in range(dice.randint(1, _LARGEST_GROUP))
        ]
        if not town.commit(intake, [draft for draft in drafts if draft is not None]):
            return
        time.sleep(dice.uniform(0, pause))


def deliver(root: str, facts: Path, seed: int, disk: str) -> None:
    """The delivery process: recipients get it, have to wait or are refused, by one destination or several."""
    dice = random.Random(seed)
    town = Town(Teller(facts), lambda index, attempt: _fate(dice, attempt))

    def report(event: events.Event) -> None:
        if isinstance(event, events.SpoolTrouble):
            # The power is gone, and nothing that is said from now on is true.
            os._exit(0)
        if not isinstance(event, MENDED):
            town.teller.say("bug", "-", *str(event).split())

    queue = Queue(Layout(root), report, longest=1e9, disk=DISKS[disk]())
    town.teller.say("begins")
    queue.recover()
    tidied = time.monotonic()
    while True:
        town.round(queue, limit=_TAKEN_AT_ONCE, split=dice.random() < 0.5)
        if time.monotonic() - tidied > _TIDY_SECONDS:
            queue.tidy()
            town.teller.say("tidied")
            tidied = time.monotonic()


def drain(root: str, facts: Path) -> None:
    """The start after the power came back, until nothing is left."""
    town = Town(Teller(facts))

    def report(event: events.Event) -> None:
        if not isinstance(event, MENDED):
            town.teller.say("bug", "-", *str(event).split())

    town.drain(Queue(Layout(root), report, longest=1e9, disk=AfterACut()))


def _fate(dice: random.Random, attempt: int) -> Kind:
    kinds = (Kind.DELIVERED, Kind.DELIVERED, Kind.FAILED, Kind.DEFERRED)
    return dice.choice(kinds if attempt < 3 else kinds[:3])
