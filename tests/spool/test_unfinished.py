"""What is seen in new/ before it is durable: left alone while it is written, taken away after a power cut."""

import time
from pathlib import Path

import pytest

from relayd.base import events
from relayd.spool.disk import Disk
from relayd.spool.envelope import pack
from relayd.spool.ids import Ids
from relayd.spool.intake import Intake
from relayd.spool.layout import Layout, name_of
from relayd.spool.ledger import Ledger, accepted
from relayd.spool.queue import Queue
from tests.spool.crash import LAYOUT, memory_disk, queue_on
from tests.spool.exchange import START, envelope
from tests.spool.memory_disk import MemoryDisk

MAIL = b"Subject: hello\r\n\r\nHello.\r\n"
WHOLE = pack(envelope("one")) + MAIL
CUT = {
    "nothing": b"",
    "a part": WHOLE[:40],
    "octets of nothing": bytes(len(WHOLE)),
    "octets of nothing at its end": WHOLE[:-5] + bytes(5),
}


def message_id() -> str:
    """Of a message that came at the start."""
    return Ids(now=lambda: int(START.timestamp() * 1e9), draw=lambda below: 7).next()


def left(content: bytes, folder: str = "new") -> tuple[MemoryDisk, Queue, list[events.Event]]:
    """A spool in which a power cut has left this of a message, and the queue that begins after it."""
    disk = memory_disk()
    disk.put(f"{LAYOUT.folder(folder)}/{name_of(message_id(), len(WHOLE))}", content)
    disk.clock.seconds += 60
    disk.booted = disk.clock.seconds - 30
    told: list[events.Event] = []
    return disk, queue_on(disk, told), told


def looked(disk: MemoryDisk, queue: Queue) -> tuple[int, list[str], list[str]]:
    """What the queue takes, and what is in new/ and in failed/ then."""
    queue.recover()
    queue.scan("new")
    jobs = queue.take(10, disk.clock.seconds)
    return len(jobs), list(disk.take_all(LAYOUT.folder("new"))), list(disk.take_all(LAYOUT.folder("failed")))


@pytest.mark.parametrize("content", CUT.values(), ids=CUT)
def test_what_a_power_cut_left_of_a_message_that_was_not_acknowledged_is_taken_away(content: bytes) -> None:
    """Its client sends it again; nobody has to look at it, and the log says so."""
    disk, queue, told = left(content)
    assert looked(disk, queue) == (0, [], [])
    assert [event.id for event in told if isinstance(event, events.MessageUnfinished)] == [message_id()]


@pytest.mark.parametrize("content", CUT.values(), ids=CUT)
def test_a_message_that_was_acknowledged_is_never_taken_away(content: bytes) -> None:
    """When the disk has lost it, a person has to know."""
    disk, queue, _ = left(content)
    Ledger(LAYOUT, disk).append([accepted(START, message_id(), envelope("one"))])
    assert looked(disk, queue) == (0, [], [name_of(message_id(), len(WHOLE))])


def test_a_part_that_was_written_since_the_machine_began_is_for_a_person() -> None:
    """No power cut explains it: somebody may be copying it there."""
    disk, queue, _ = left(WHOLE[:40])
    disk.booted = 0.0
    assert looked(disk, queue) == (0, [], [name_of(message_id(), len(WHOLE))])


def test_a_part_that_has_a_journal_is_for_a_person() -> None:
    """It was tried, so it was whole."""
    disk, queue, _ = left(WHOLE[:40])
    disk.put(LAYOUT.journal(message_id()), b"")
    assert looked(disk, queue) == (0, [], [name_of(message_id(), len(WHOLE))])


def test_a_part_elsewhere_than_in_new_is_for_a_person() -> None:
    """No worker writes there."""
    disk, queue, _ = left(WHOLE[:40], "cur")
    queue.recover()
    queue.take(10, disk.clock.seconds + 86_400)
    assert list(disk.take_all(LAYOUT.folder("failed"))) == [name_of(message_id(), len(WHOLE))]


def test_a_message_that_is_not_durable_yet_is_left_alone(tmp_path: Path) -> None:
    """While its worker holds it; word of it is enough then."""
    layout = Layout(str(tmp_path))
    layout.create()
    seen: list[int] = []

    class Watched(Disk):
        def sync_folder(self, path: str) -> None:
            if path == layout.folder("new"):
                # The group is there, and nothing of it acknowledged.
                queue.scan("new")
                seen.append(len(queue.take(10, time.time())))
            super().sync_folder(path)

    queue = Queue(layout, lambda event: None, longest=86_400.0)
    intake = Intake(layout, 0, disk=Watched())
    drafts = [intake.begin(envelope("one")) for _ in range(2)]
    for draft in drafts:
        draft.write(MAIL)
    names = [name for name in intake.commit(drafts) if isinstance(name, str)]
    assert (len(names), seen) == (2, [0])
    queue.hear(names)
    assert len(queue.take(10, time.time())) == 2


def test_a_message_that_cannot_be_synced_is_taken_back() -> None:
    """Its client hears that it was not taken, and the others are not held up."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    drafts = [intake.begin(envelope("one")) for _ in range(3)]
    for draft in drafts:
        draft.write(MAIL)

    def fault(operation: str, path: str) -> None:
        if operation == "sync" and path.endswith(drafts[1].id):
            raise OSError(5, "Input/output error")

    disk.fault = fault
    results = intake.commit(drafts)
    assert [isinstance(result, str) for result in results] == [True, False, True]
    assert sorted(disk.take_all(LAYOUT.folder("new"))) == [result for result in results if isinstance(result, str)]
    assert not disk.take_all(LAYOUT.folder("tmp"))
    assert len(disk._open) == 1


@pytest.mark.parametrize(("octets", "order"), [(1000, ["rename", "sync"]), (100_000, ["sync", "rename"])])
def test_a_message_that_is_not_read_whole_as_it_is_taken_is_durable_before_it_is_seen(
    octets: int, order: list[str]
) -> None:
    """What a power cut leaves of a small one shows as it is read."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    draft = intake.begin(envelope("one"))
    draft.write(b"x" * octets + b"\r\n")
    intake.commit([draft])
    steps = [operation for operation, path in disk.calls if draft.id in path]
    assert [step for step in steps if step in ("sync", "rename")] == order


def test_a_message_that_has_just_come_takes_few_looks() -> None:
    """Who has put what where is asked for what was found in the folders, not for what a worker has told of."""
    disk = memory_disk()
    intake = Intake(LAYOUT, 0, disk=disk, now=disk.clock)
    drafts = [intake.begin(envelope("one")) for _ in range(2)]
    for draft in drafts:
        draft.write(MAIL)
    told, found = (result for result in intake.commit(drafts) if isinstance(result, str))
    queue = queue_on(disk)
    looks = []
    for name in (told, found):
        if name == told:
            queue.hear([name])
        else:
            queue.scan("new")
        disk.calls.clear()
        (job,) = queue.take(1, disk.clock.seconds)
        assert name.startswith(job.id)
        looks.append(sum(operation in ("lstat", "exists") for operation, _ in disk.calls))
    # The journal's, which is not there, the file's own, and three of other folders.
    assert looks == [0, 5]
