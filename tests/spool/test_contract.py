"""The contract of a spool's two sides, run on each engine: the maildir on a real disk, and one in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relayd.spool.envelope import Envelope
from relayd.spool.errors import LeaseLost, NoSuchMessage, SpoolFull
from relayd.spool.intake import LARGE, Intake
from relayd.spool.job import Job, Notice, Settlement
from relayd.spool.layout import Layout
from relayd.spool.outcome import Kind, Outcome
from relayd.spool.protocol import Delivering, Receiving
from relayd.spool.queue import Queue
from tests.spool.conftest import HastyDisk
from tests.spool.exchange import START, envelope, notice, outcome
from tests.spool.memory_engine import MemoryIntake, MemoryQueue, Store

MAIL = b"Subject: hello\r\n\r\nHello.\r\n"
NOW = START.timestamp()
LATER = START + timedelta(hours=1)


@dataclass
class Spool:
    """Both sides of one spool; `begin` is what a delivery process does when it starts."""

    receiving: Receiving[Any]
    start: Callable[[], Delivering]

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The delivery process was killed, and another one began."""
        self.queue = self.start()
        self.queue.recover()

    def commit(self, *recipients: str, mail_data: bytes = MAIL, of: Envelope | None = None) -> str:
        """Bring a message in; its ID."""
        draft = self.receiving.begin(of or envelope(*recipients))
        draft.write(mail_data)
        if draft.is_large:
            draft.finish()
        names = self.receiving.commit([draft])
        self.queue.hear([name for name in names if isinstance(name, str)])
        return str(draft.id)

    def take(self, now: float = NOW) -> Job:
        """The one job that is due."""
        self.queue.scan("new")
        self.queue.scan("cur")
        (job,) = self.queue.take(10, now)
        return job

    def settle(self, job: Job, *outcomes: Outcome, notices: tuple[Notice, ...] = ()) -> bool:
        """End an attempt; the next one is LATER."""
        return self.queue.settle(Settlement(job, outcomes, LATER, notices))


@pytest.fixture(params=["maildir", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Spool:
    """An empty spool of each engine."""
    if request.param == "memory":
        store = Store()
        return Spool(MemoryIntake(store), lambda: MemoryQueue(store))
    layout, disk = Layout(str(tmp_path / "spool")), HastyDisk()
    layout.create(disk=disk)

    def start() -> Queue:
        return Queue(layout, lambda event: None, longest=86_400, disk=disk, now=lambda: START)

    return Spool(Intake(layout, 0, disk=disk), start)


def test_what_was_committed_can_be_taken(spool: Spool) -> None:
    """The envelope and the mail data come out as they went in."""
    message_id = spool.commit("one", "two")
    job = spool.take()
    assert (job.id, job.envelope, job.open, job.attempt) == (message_id, envelope("one", "two"), (0, 1), 1)
    assert (b"".join(spool.queue.read(job)), job.size, job.owed) == (MAIL, len(MAIL), ())


def test_what_was_committed_is_found_without_a_hint(spool: Spool) -> None:
    """A hint is haste and no more."""
    draft = spool.receiving.begin(envelope())
    draft.write(MAIL)
    spool.receiving.commit([draft])
    assert spool.take().id == draft.id


def test_a_large_message_comes_out_as_it_went_in(spool: Spool) -> None:
    """It is written as it comes, and read in portions."""
    mail_data = bytes(range(256)) * (LARGE // 128)
    spool.commit(mail_data=mail_data)
    assert b"".join(spool.queue.read(spool.take())) == mail_data


def test_a_message_without_mail_data_is_one(spool: Spool) -> None:
    """Nothing is sent for it, and that is what came."""
    spool.commit(mail_data=b"")
    job = spool.take()
    assert (b"".join(spool.queue.read(job)), job.size) == (b"", 0)


def test_a_draft_that_was_discarded_is_gone(spool: Spool) -> None:
    """Nobody will deliver it."""
    draft = spool.receiving.begin(envelope())
    draft.write(MAIL)
    draft.spill()
    draft.discard()
    spool.queue.scan("new")
    assert spool.queue.take(10, NOW) == []


def test_to_discard_a_message_does_nothing(spool: Spool) -> None:
    """It was acknowledged."""
    draft = spool.receiving.begin(envelope())
    draft.write(MAIL)
    spool.receiving.commit([draft])
    draft.discard()
    job = spool.take()
    assert b"".join(spool.queue.read(job)) == MAIL


def test_a_group_is_committed_together(spool: Spool) -> None:
    """For each draft its name."""
    drafts = [spool.receiving.begin(envelope()) for _ in range(130)]
    names = spool.receiving.commit(drafts)
    assert len(set(names)) == 130
    spool.queue.hear([name for name in names if isinstance(name, str)])
    assert len(spool.queue.take(1000, NOW)) == 130


def test_there_is_room_or_it_is_full(spool: Spool) -> None:
    """As said before the mail comes."""
    spool.receiving.check_room()
    with pytest.raises(SpoolFull):
        spool.receiving.check_room(10**18)


def test_a_message_has_one_live_job(spool: Spool) -> None:
    """Nobody else gets it while somebody has it."""
    spool.commit()
    job = spool.take()
    spool.queue.scan("new")
    spool.queue.scan("cur")
    assert spool.queue.take(10, NOW) == []
    assert spool.queue.waiting == 0
    spool.queue.put_back(job)
    assert spool.queue.waiting == 1


def test_no_more_is_taken_than_was_asked_for(spool: Spool) -> None:
    """The rest waits."""
    for _ in range(5):
        spool.commit()
    assert len(spool.queue.take(3, NOW)) == 3
    assert spool.queue.waiting == 2


def test_a_lost_lease_changes_nothing(spool: Spool) -> None:
    """Whoever has the message now has it alone."""
    spool.commit()
    old = spool.take()
    spool.queue.put_back(old)
    new = spool.take()
    delivered = outcome(Kind.DELIVERED, 0)
    with pytest.raises(LeaseLost):
        spool.queue.record(old, [delivered])
    with pytest.raises(LeaseLost):
        spool.settle(old, delivered)
    with pytest.raises(LeaseLost):
        spool.queue.put_back(old)
    with pytest.raises(LeaseLost):
        next(spool.queue.read(old))
    assert spool.queue.cached(old) is None
    assert spool.settle(new, outcome(Kind.DEFERRED, 0)) is False


def test_a_message_that_all_have_is_gone(spool: Spool) -> None:
    """Also for the next process."""
    spool.commit("one", "two")
    assert spool.settle(spool.take(), outcome(Kind.DELIVERED, 0, 1)) is True
    spool.queue.tidy()
    spool.restart()
    assert (spool.queue.take(10, NOW), spool.queue.next_due()) == ([], None)


def test_an_attempt_is_settled_once(spool: Spool) -> None:
    """What is settled is nobody's any more."""
    spool.commit()
    job = spool.take()
    spool.settle(job, outcome(Kind.DELIVERED, 0))
    with pytest.raises(LeaseLost):
        spool.settle(job, outcome(Kind.DELIVERED, 0))


def test_a_deferred_message_is_due_at_its_date(spool: Spool) -> None:
    """Not before; and its attempts are counted."""
    spool.commit()
    assert spool.queue.next_due() == 0.0
    assert spool.settle(spool.take(), outcome(Kind.DEFERRED, 0)) is False
    assert spool.queue.take(10, LATER.timestamp() - 1) == []
    assert spool.queue.next_due() == LATER.timestamp()
    assert spool.take(LATER.timestamp()).attempt == 2


def test_a_date_outlives_the_process(spool: Spool) -> None:
    """The next one keeps it."""
    spool.commit()
    spool.settle(spool.take(), outcome(Kind.DEFERRED, 0))
    spool.restart()
    assert spool.queue.take(10, LATER.timestamp() - 1) == []
    assert spool.take(LATER.timestamp()).attempt == 2


def test_who_has_the_mail_is_not_open_again(spool: Spool) -> None:
    """The others are."""
    spool.commit("one", "two", "three")
    spool.settle(spool.take(), outcome(Kind.DELIVERED, 0, 2), outcome(Kind.IN_DOUBT, 1))
    assert spool.take(LATER.timestamp()).open == (1,)


def test_what_was_recorded_outlives_a_kill(spool: Spool) -> None:
    """While the attempt at the others goes on."""
    spool.commit("one", "two")
    spool.queue.record(spool.take(), [outcome(Kind.DELIVERED, 0)])
    spool.restart()
    job = spool.take()
    assert (job.open, job.attempt) == ((1,), 2)


def test_to_record_the_same_again_adds_nothing(spool: Spool) -> None:
    """A call that failed may come again."""
    spool.commit("one", "two")
    job = spool.take()
    for _ in range(2):
        spool.queue.record(job, [outcome(Kind.DELIVERED, 0)])
    assert spool.settle(job, outcome(Kind.DELIVERED, 0), outcome(Kind.DELIVERED, 1)) is True


def test_a_notification_is_queued_like_any_message(spool: Spool) -> None:
    """With the null reverse-path, once, and before its message ends."""
    spool.commit()
    job = spool.take()
    owed = notice(job, 1)
    assert spool.settle(job, outcome(Kind.FAILED, 0), notices=(owed,)) is True
    found = spool.take()
    assert (found.envelope, b"".join(spool.queue.read(found))) == (owed.envelope, owed.mail_data)
    assert found.id != job.id
    spool.queue.tidy()
    spool.restart()
    assert spool.take().id == found.id


def test_a_failure_that_nobody_was_told_of_is_owed(spool: Spool) -> None:
    """When the process died before the attempt was settled."""
    spool.commit("one", "two")
    failure = outcome(Kind.FAILED, 0)
    spool.queue.record(spool.take(), [failure])
    spool.restart()
    job = spool.take()
    assert (job.owed, job.open) == ((failure,), (1,))
    assert spool.settle(job, outcome(Kind.DELIVERED, 1, attempt=2), notices=(notice(job, 1),)) is True
    assert spool.take().envelope.reverse_path is None


def test_a_failure_that_is_told_is_not_owed(spool: Spool) -> None:
    """While others of the message still wait."""
    spool.commit("one", "two")
    job = spool.take()
    spool.settle(job, outcome(Kind.FAILED, 0), outcome(Kind.DEFERRED, 1), notices=(notice(job, 1),))
    told = spool.take()
    assert spool.settle(told, outcome(Kind.DELIVERED, 0)) is True
    assert spool.take(LATER.timestamp()).owed == ()


def test_a_failure_that_nobody_is_to_be_told_of_is_not_owed(spool: Spool) -> None:
    """A settlement without a notice of its attempt says so."""
    spool.commit("one", "two", of=envelope("one", "two", reverse_path=None))
    spool.settle(spool.take(), outcome(Kind.FAILED, 0), outcome(Kind.DEFERRED, 1))
    assert spool.take(LATER.timestamp()).owed == ()


def test_failures_of_two_attempts_have_a_notification_each(spool: Spool) -> None:
    """Each is about its own."""
    spool.commit("one", "two")
    job = spool.take()
    spool.settle(job, outcome(Kind.FAILED, 0), outcome(Kind.DEFERRED, 1), notices=(notice(job, 1),))
    first = spool.take()
    spool.settle(first, outcome(Kind.DELIVERED, 0))
    job = spool.take(LATER.timestamp())
    spool.settle(job, outcome(Kind.EXPIRED, 1, attempt=2), notices=(notice(job, 2),))
    second = spool.take()
    assert second.id != first.id
    assert b"".join(spool.queue.read(second)).endswith(b" 2\r\n")


def test_a_message_that_is_put_back_is_due_as_before(spool: Spool) -> None:
    """Its attempt did not happen."""
    spool.commit()
    spool.queue.put_back(spool.take())
    assert spool.queue.next_due() == 0.0
    assert spool.take().attempt == 1
    spool.restart()
    job = spool.take()
    spool.settle(job, outcome(Kind.DEFERRED, 0))
    spool.queue.put_back(spool.take(LATER.timestamp()))
    assert spool.queue.next_due() == LATER.timestamp()


def test_a_message_can_be_put_off(spool: Spool) -> None:
    """Without an attempt: nothing came of it."""
    spool.commit()
    spool.queue.put_back(spool.take(), LATER)
    assert spool.queue.next_due() == LATER.timestamp()
    spool.restart()
    assert spool.queue.take(10, NOW) == []
    assert spool.take(LATER.timestamp()).attempt == 1


def test_the_mail_data_in_memory_is_the_same(spool: Spool) -> None:
    """Where it is in memory."""
    spool.commit()
    job = spool.take()
    assert spool.queue.cached(job) in (None, MAIL)


def test_nothing_is_refused_while_there_is_room(spool: Spool) -> None:
    """What comes of the final dot can be recorded."""
    spool.commit("one", "two")
    spool.queue.reserve(spool.take())


def test_an_attempt_with_nothing_to_do_ends_the_message(spool: Spool) -> None:
    """A crash may leave one with no recipient open."""
    spool.commit("one", "two")
    spool.queue.record(spool.take(), [outcome(Kind.DELIVERED, 0, 1)])
    spool.restart()
    job = spool.take()
    assert (job.open, job.owed) == ((), ())
    assert spool.settle(job) is True
    assert spool.queue.waiting == 0


def test_a_message_that_is_removed_leaves_word_of_what_it_owed(spool: Spool) -> None:
    """An operator's claim comes before its date; afterwards there is only the notification."""
    message_id = spool.commit("one", "two")
    spool.settle(spool.take(), outcome(Kind.DEFERRED, 0, 1))
    job = spool.queue.claim(message_id)
    assert job is not None
    assert spool.queue.claim(message_id) is None
    spool.queue.record(job, [outcome(Kind.FAILED, 0, attempt=2)])
    spool.restart()
    job = spool.queue.claim(message_id)
    assert job is not None
    assert (job.open, [each.attempt for each in job.owed]) == ((1,), [2])
    spool.queue.remove(job, (notice(job, 2),))
    assert spool.take(LATER.timestamp()).envelope.reverse_path is None
    with pytest.raises(NoSuchMessage):
        spool.queue.claim(message_id)


def test_attempts_that_end_together_end_as_each_would_alone(spool: Spool) -> None:
    """Success, delay, and one that is no longer anybody's."""
    for name in ("one", "two", "three"):
        spool.commit(name)
    spool.queue.scan("new")
    first, second, third = spool.queue.take(10, NOW)
    spool.settle(third, outcome(Kind.DELIVERED, 0))
    ended, waits, lost = spool.queue.settle_all(
        [
            Settlement(first, (outcome(Kind.DELIVERED, 0),), LATER),
            Settlement(second, (outcome(Kind.DEFERRED, 0),), LATER),
            Settlement(third, (outcome(Kind.DELIVERED, 0),), LATER),
        ]
    )
    assert (ended, waits) == (True, False)
    assert isinstance(lost, LeaseLost)
    assert spool.take(LATER.timestamp()).id == second.id
