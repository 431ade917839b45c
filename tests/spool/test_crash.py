"""Every order of events: a crash after each step, with each loss of what was not durable, loses no mail.

Then the same with a step left out or swapped, which must show, or these tests are blind.
"""

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from relayd.spool.ids import Ids
from relayd.spool.intake import Intake
from relayd.spool.job import Settlement
from relayd.spool.outcome import Kind
from relayd.spool.queue import Queue
from tests.spool.crash import LAYOUT, Killed, losses, memory_disk, queue_on
from tests.spool.exchange import START, Exchange, envelope
from tests.spool.memory_disk import MemoryDisk

MAIL = b"Subject: hello\r\n\r\nHello.\r\n"
Skips = Callable[[str, str], bool]


def same_ids() -> Ids:
    """The same ones each time."""
    return Ids(now=lambda: int(START.timestamp() * 1e9), draw=lambda below: 7)


def commit(disk: MemoryDisk, exchange: Exchange, *recipients: str, ids: Ids | None = None) -> str:
    """Bring one message in, as a worker does; its name."""
    receiving = Intake(LAYOUT, 0, disk=disk, ids=ids or same_ids(), now=disk.clock)
    draft = receiving.begin(envelope(*recipients))
    draft.write(MAIL)
    exchange.contents[draft.id] = MAIL
    (name,) = receiving.commit([draft])
    assert isinstance(name, str)
    exchange.acknowledged.update((draft.id, index) for index in range(len(recipients) or 1))
    return name


def committing(skips: Skips | None = None, disk: MemoryDisk | None = None) -> Iterator[str]:
    """The losses of two commits in a group and one after it."""
    disk, exchange = disk or memory_disk(), Exchange()
    LAYOUT.create(disk=disk)
    disk.make_durable()
    disk.skips = skips or disk.skips

    def work() -> None:
        receiving = Intake(LAYOUT, 0, disk=disk, ids=same_ids(), now=disk.clock)
        for recipients in [("one",), ("two", "three")], [("four",)]:
            drafts = [receiving.begin(envelope(*each)) for each in recipients]
            for draft in drafts:
                draft.write(MAIL)
                exchange.contents[draft.id] = MAIL
            results = receiving.commit(drafts)
            for draft, each, result in zip(drafts, recipients, results, strict=True):
                assert isinstance(result, str)
                exchange.acknowledged.update((draft.id, index) for index in range(len(each)))

    return losses(disk, exchange, work)


def delivering(
    exchange: Exchange,
    groups: list[list[int]] | None = None,
    *,
    recipients: int = 1,
    skips: Skips | None = None,
    queue: type[Queue] = Queue,
) -> Iterator[str]:
    """The losses of two attempts at a message, and of the notifications that come of them."""
    disk = memory_disk()
    commit(disk, exchange, *(f"r{number}" for number in range(recipients)))
    delivering = queue(LAYOUT, lambda event: None, longest=1e9, disk=disk, now=disk.clock)
    delivering.recover()
    disk.make_durable()
    disk.skips = skips or disk.skips

    return losses(disk, exchange, lambda: life(disk, exchange, delivering, groups))


def life(disk: MemoryDisk, exchange: Exchange, queue: Queue, groups: list[list[int]] | None = None) -> None:
    """Four days of a delivery process; `groups` are the destinations of the first attempt."""
    for day in range(4):
        disk.clock.seconds += 1
        queue.scan("new")
        queue.scan("cur")
        for job in queue.take(10, (START + timedelta(days=day, hours=1)).timestamp()):
            exchange.attempt(queue, job, groups if job.attempt == 1 and job.size == len(MAIL) else None)
        exchange.tidy(queue)


def fails_first(index: int, attempt: int) -> Kind:
    """The first recipient fails, the second has to wait once, the others take it."""
    if index == 0:
        return Kind.FAILED
    return Kind.DEFERRED if index == 1 and attempt == 1 else Kind.DELIVERED


def waits_once(index: int, attempt: int) -> Kind:
    """Not now, then yes."""
    return Kind.DEFERRED if attempt == 1 else Kind.DELIVERED


def never(index: int, attempt: int) -> Kind:
    """Nobody takes it."""
    return Kind.FAILED


def relays(index: int, attempt: int) -> Kind:
    """Exchangers take it and will not tell of it; the second recipient has to wait once."""
    return Kind.DEFERRED if index == 1 and attempt == 1 else Kind.RELAYED


def test_a_crash_in_a_commit_loses_nothing() -> None:
    """What was acknowledged is delivered, what was not is whole or not there."""
    assert list(committing()) == []


def test_a_crash_in_a_delivery_to_one_recipient_loses_nothing() -> None:
    """The success of all at once writes no journal."""
    assert list(delivering(Exchange())) == []


def test_a_crash_in_a_delivery_to_several_destinations_loses_nothing() -> None:
    """Each group's outcome is durable as it ends."""
    assert list(delivering(Exchange(), [[0], [1], [2]], recipients=3)) == []


@pytest.mark.parametrize("kinds", [lambda index, attempt: Kind.DELIVERED, "mixed"])
def test_a_crash_while_several_messages_end_at_once_loses_nothing(kinds: Any) -> None:
    """Their lines in the ledger are one append, and none of them goes before it."""
    disk = memory_disk()
    exchange = Exchange(fails_first if kinds == "mixed" else kinds)
    drawn = iter(range(1000))
    made = Ids(now=lambda: int(START.timestamp() * 1e9), draw=lambda below: next(drawn))
    for recipients in [("one",), ("two", "three"), ("four",)]:
        commit(disk, exchange, *recipients, ids=made)
    queue = queue_on(disk)
    queue.recover()
    disk.make_durable()

    def work() -> None:
        queue.scan("new")
        exchange.attempt_together(queue, queue.take(10, START.timestamp()))
        exchange.tidy(queue)

    assert list(losses(disk, exchange, work)) == []


def test_a_crash_around_a_deferral_loses_nothing() -> None:
    """The message waits in cur/ and its journal says why."""
    assert list(delivering(Exchange(waits_once))) == []


def test_a_crash_around_a_failure_loses_and_repeats_no_notification() -> None:
    """The notification is there once, whatever was done of it."""
    assert list(delivering(Exchange(never))) == []


@pytest.mark.parametrize(("groups", "recipients"), [(None, 1), (None, 2), ([[0], [1]], 2)])
def test_a_crash_around_mail_that_was_relayed_repeats_nothing_and_loses_no_word_of_it(
    groups: list[list[int]] | None, recipients: int
) -> None:
    """The originator hears of each, and nobody gets a second copy for that."""
    assert list(delivering(Exchange(relays), groups, recipients=recipients)) == []


def test_a_crash_in_mixed_outcomes_loses_and_repeats_nothing() -> None:
    """A failure, a deferral and a success in one attempt, by one destination."""
    assert list(delivering(Exchange(fails_first), recipients=3)) == []


def test_a_crash_in_mixed_outcomes_of_several_destinations_loses_and_repeats_nothing() -> None:
    """The same by a destination each."""
    assert list(delivering(Exchange(fails_first), [[0], [1], [2]], recipients=3)) == []


# The same, broken on purpose.


def without(operation: str, folder: str) -> Skips:
    """Leave an operation out in one of the spool's folders."""
    return lambda each, path: each == operation and (path + "/").startswith(f"{LAYOUT.folder(folder)}/")


@pytest.mark.parametrize(
    ("operation", "folder"),
    [("sync", "tmp"), ("sync_folder", "new"), ("rename", "tmp"), ("write", "tmp")],
)
def test_a_commit_without_one_of_its_steps_is_found_out(operation: str, folder: str) -> None:
    """The harness sees the loss."""
    assert any(committing(without(operation, folder)))


def test_what_a_power_cut_leaves_of_a_message_is_known_by_the_time_of_the_file() -> None:
    """Where the system does not say when the machine began, it would lie there for a person."""
    disk = memory_disk()
    disk.tells_its_start = False
    assert any("failed" in loss for loss in committing(disk=disk))


@pytest.mark.parametrize(
    ("operation", "folder"),
    [
        ("write", "journal"),
        ("sync", "journal"),
        ("sync_folder", "journal"),
        ("sync_folder", "new"),
        ("unlink", "new"),
    ],
)
def test_a_delivery_without_one_of_its_steps_is_found_out(operation: str, folder: str) -> None:
    """Several destinations: an outcome that is forgotten is a second copy."""
    exchange = Exchange()
    assert any(delivering(exchange, [[0], [1], [2]], recipients=3, skips=without(operation, folder)))


@pytest.mark.parametrize(
    ("operation", "folder"),
    [("sync", "tmp"), ("sync_folder", "tmp"), ("sync", "journal"), ("sync_folder", "new"), ("rename", "tmp")],
)
def test_a_notification_without_one_of_its_steps_is_found_out(operation: str, folder: str) -> None:
    """One that is lost, or told twice."""
    assert any(delivering(Exchange(never), skips=without(operation, folder)))


@pytest.mark.parametrize(("operation", "folder"), [("sync", "tmp"), ("sync", "journal"), ("sync_folder", "new")])
def test_word_of_relayed_mail_without_one_of_its_steps_is_found_out(operation: str, folder: str) -> None:
    """A second copy, or nobody hears of it."""
    assert any(delivering(Exchange(relays), skips=without(operation, folder)))


@pytest.mark.parametrize(
    ("operation", "folder"),
    [("write", "journal"), ("sync", "journal"), ("truncate", "journal"), ("sync_folder", "cur")],
)
def test_mixed_outcomes_without_one_of_the_steps_are_found_out(operation: str, folder: str) -> None:
    """A recipient who has the mail gets it again when the others' turn comes."""
    assert any(delivering(Exchange(fails_first), recipients=3, skips=without(operation, folder)))


class EndsFirst(Queue):
    """Takes the message away before its notification is queued."""

    def settle(self, settlement: Settlement) -> bool:
        claim = self._claims[settlement.job.id]
        claim.take(settlement.outcomes)
        self._settling.end(claim)
        self._settling.notify(claim, settlement.notices)
        self._forget(claim)
        return True


class TellsLate(Queue):
    """Makes the notification visible before the journal says that it exists."""

    def settle(self, settlement: Settlement) -> bool:
        settling, claim = self._settling, self._claims[settlement.job.id]
        claim.take(settlement.outcomes)
        settling.record(claim)
        claim.is_told = True
        settling.notify(claim, settlement.notices)
        claim.is_told = False
        return super().settle(settlement)


class SweepsFirst(Queue):
    """Takes journals away before the message's name is gone for good."""

    def tidy(self) -> None:
        for message_id in self._tidying._ended:
            self._disk.unlink(LAYOUT.journal(message_id))
        super().tidy()


def test_an_end_before_the_notification_is_found_out() -> None:
    """A crash between them loses what is owed."""
    assert any(delivering(Exchange(never), queue=EndsFirst))


def test_a_notification_before_the_journal_knows_of_it_is_found_out() -> None:
    """A crash between them tells twice."""
    assert any(delivering(Exchange(never), queue=TellsLate))


def test_a_journal_that_goes_before_its_message_is_found_out() -> None:
    """A power cut brings back the message without what is known of it."""
    assert any(delivering(Exchange(), [[0], [1], [2]], recipients=3, queue=SweepsFirst))


# Two crashes.


def killed(exchange: Exchange, recipients: int, step: int) -> Iterator[str] | None:
    """The losses of a process that begins after another was killed at this step; None when it had no such step."""
    disk = memory_disk()
    commit(disk, exchange, *(f"r{number}" for number in range(recipients)))
    first = queue_on(disk)
    first.recover()
    disk.make_durable()
    steps = 0

    def stepped(operation: str, path: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise Killed

    disk.stepped = stepped
    try:
        life(disk, exchange, first)
    except Killed:
        disk.stepped = lambda operation, path: None
        disk.locks_die()
    else:
        return None

    def work() -> None:
        second = queue_on(disk)
        second.recover()
        exchange.durable |= exchange.settled
        life(disk, exchange, second)

    return losses(disk, exchange, work)


@pytest.mark.long
@pytest.mark.parametrize(("kinds", "recipients"), [(never, 1), (fails_first, 3)])
def test_a_power_cut_after_a_kill_loses_nothing(kinds: Callable[[int, int], Kind], recipients: int) -> None:
    """What the second process finds and has not written itself is durable before it acts on it."""
    for step in itertools.count(1):
        found = killed(Exchange(kinds), recipients, step)
        if found is None:
            break
        assert list(found) == [], f"killed at step {step}"
