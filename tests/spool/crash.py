"""A crash after every step of a piece of work: what each leaves is started again, drained, and compared.

A loss is what must never be. A test asserts that there is none, or, where the work was broken on purpose, some.
"""

from collections.abc import Callable, Iterator

from relayd.base import events
from relayd.spool.layout import Layout, parse_name
from relayd.spool.queue import Queue
from tests.spool.exchange import START, Exchange, Facts
from tests.spool.memory_disk import Clock, Image, MemoryDisk

ROOT = "/spool"
LAYOUT = Layout(ROOT)
LONGEST = 86_400.0
_FAR = START.timestamp() + 86_400 * 300


def memory_disk() -> MemoryDisk:
    """A disk with an empty spool."""
    disk = MemoryDisk(Clock(START.timestamp()))
    LAYOUT.create(disk=disk)
    return disk


def queue_on(disk: MemoryDisk, told: list[events.Event] | None = None) -> Queue:
    """The delivery side, as a process that begins now has it."""
    return Queue(LAYOUT, ([] if told is None else told).append, longest=LONGEST, disk=disk, now=disk.clock)


class Killed(BaseException):
    """The process ends here."""


def losses(disk: MemoryDisk, exchange: Exchange, work: Callable[[], None]) -> Iterator[str]:
    """Do the work, crash after each of its steps in each way there is, start again, and say what was lost."""
    points: dict[tuple[Image, bool, Facts], str] = {}
    steps = 0

    def step(operation: str, path: str) -> None:
        nonlocal steps
        steps += 1
        facts = exchange.facts()
        for image, is_kill in disk.images():
            points.setdefault((image, is_kill, facts), f"{steps}: {operation} {path}")

    disk.stepped = step
    work()
    step("the end of", "the work")
    disk.stepped = lambda operation, path: None
    for (image, is_kill, facts), where in points.items():
        for loss in _after(image, is_kill, facts, disk, exchange):
            yield f"after {where}{' (kill)' if is_kill else ''}: {loss}"


def _after(image: Image, is_kill: bool, facts: Facts, before: MemoryDisk, exchange: Exchange) -> list[str]:
    disk = MemoryDisk.after(image, before.folders, Clock(before.clock.seconds + 1))
    # Code that forgets a step forgets it after the crash too.
    disk.skips = before.skips
    # Only a power cut makes a machine begin anew.
    disk.booted = disk.clock.seconds if before.tells_its_start and not is_kill else 0.0
    told: list[events.Event] = []
    world = exchange.go_on(facts)
    queue = queue_on(disk, told)
    queue.recover()
    world.drain(queue, _FAR)
    queue.tidy()
    return [*_wrong_in(disk, told), *_wrong_outside(world, facts, is_kill)]


def _wrong_in(disk: MemoryDisk, told: list[events.Event]) -> list[str]:
    wrong = [str(event) for event in told if isinstance(event, events.QueueMoved | events.SpoolTrouble)]
    for folder in ("tmp", "new", "cur", "hold", "failed", "journal"):
        wrong += [f"{folder}/{name} is left" for name in disk.take_all(LAYOUT.folder(folder))]
    return wrong


def _wrong_outside(world: Exchange, facts: Facts, is_kill: bool) -> list[str]:
    had = dict(facts.taken)
    certain = facts.settled if is_kill else facts.durable
    told = {key for key, attempt in world.refused if (key[0], attempt) in world.told}
    wrong = [
        f"{key} was acknowledged and is lost"
        for key in facts.acknowledged
        if not world.taken[key] and key not in told
    ]
    heard_of = {message_id for message_id, _ in world.told}
    wrong += [
        f"nobody heard that {key} was relayed" for key in world.relayed & had.keys() if key[0] not in heard_of
    ]
    for key, times in world.taken.items():
        # Between an exchanger's 250 and our record, and nowhere else, a second copy may arise.
        if times > (had.get(key, 0) + (key not in certain) or 1):
            wrong.append(f"{key} got it {times} times")
    return wrong


def name_of_only(disk: MemoryDisk, folder: str) -> str:
    """The name of the only file in a folder."""
    (name,) = disk.take_all(LAYOUT.folder(folder))
    assert parse_name(name) is not None
    return name
