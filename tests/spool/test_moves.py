"""A person who moves files between the steps of deliveries, kills and power cuts, in any order: no mail is lost.

A state machine of hypothesis drives the queue on the disk in memory. The exchanges of `exchange` are the witness.
"""

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from relayd.spool.job import Job, Settlement
from relayd.spool.outcome import Kind, Outcome
from tests.spool.crash import LAYOUT
from tests.spool.exchange import Key, notice, outcome
from tests.spool.hall import DAY, LATER, Hall
from tests.spool.memory_disk import MemoryDisk

STATES = ["new", "cur", "hold", "failed"]
KINDS = [Kind.DELIVERED, Kind.RELAYED, Kind.DEFERRED, Kind.FAILED, Kind.IN_DOUBT]


class Moves(RuleBasedStateMachine):
    """What is `known` was recorded: to send it again would be a mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall()
        self.accepted: set[Key] = set()
        self.taken: set[Key] = set()
        self.known: set[Key] = set()
        self.lately: set[Key] = set()
        self.failed: set[Key] = set()
        self.told: set[Key] = set()
        self.jobs: dict[str, Job] = {}
        self.owed: set[str] = set()
        self.owing: dict[str, set[int]] = {}

    # What happens.

    @initialize(recipients=st.integers(1, 3))
    def begin(self, recipients: int) -> None:
        """There is a message."""
        self.commit(recipients)

    @rule(recipients=st.integers(1, 3))
    def commit(self, recipients: int) -> None:
        """A client brings a message."""
        name = self.hall.commit(*(f"r{number}" for number in range(recipients)))
        self.accepted |= {(name.partition(",")[0], index) for index in range(recipients)}

    @rule(seconds=st.sampled_from([0.05, 1.0, 3600.0, DAY]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.hall.go_on(seconds)
        self.hall.queue.tidy()
        self.known |= self.lately
        self.lately = set()

    @rule(limit=st.integers(1, 3))
    def take(self, limit: int) -> None:
        """Claim what is due."""
        self.hall.look()
        for job in self.hall.queue.take(limit, self.hall.disk.clock.seconds):
            assert job.id not in self.jobs, "an ID in flight was taken again"
            self.jobs[job.id] = job
            self.owing[job.id] = {each.attempt for each in job.owed}

    @rule(data=st.data(), seconds=st.sampled_from([1.0, DAY]), has_moves=st.booleans())
    def turn(self, data: st.DataObject, seconds: float, has_moves: bool) -> None:
        """Time passes, and all that is due is attempted; somebody may move a file in the middle of it."""
        self.wait(seconds)
        self.take(3)
        for job in list(self.jobs.values()):
            if has_moves:
                self.move_one(data, [name for name in self.names() if name[1].startswith(job.id)])
            kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=3, max_size=3))
            self.end(job, self.attempt(job, job.open, kinds))

    @precondition(lambda self: any(len(job.open) > 1 for job in self.jobs.values()))
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def record(self, data: st.DataObject, kind: Kind) -> None:
        """One destination of several comes to an end."""
        job = data.draw(st.sampled_from([job for job in self.jobs.values() if len(job.open) > 1]))
        outcomes = self.attempt(job, job.open[:1], [kind])
        self.hall.queue.record(job, outcomes)
        self.learn(job, outcomes)
        self.known |= self.lately
        self.lately = set()
        self.jobs[job.id] = Job(job.id, job.token, job.envelope, job.open[1:], job.attempt, job.size, job.owed)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), kinds=st.lists(st.sampled_from(KINDS), min_size=3, max_size=3))
    def settle(self, data: st.DataObject, kinds: list[Kind]) -> None:
        """The last one does."""
        job = data.draw(st.sampled_from(list(self.jobs.values())))
        self.end(job, self.attempt(job, job.open, kinds))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), is_put_off=st.booleans())
    def put_back(self, data: st.DataObject, is_put_off: bool) -> None:
        """There was no attempt."""
        job = data.draw(st.sampled_from(list(self.jobs.values())))
        self.hall.queue.put_back(job, LATER if is_put_off else None)
        del self.jobs[job.id]

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """A person moves a file."""
        self.move_one(data, self.names())

    def move_one(self, data: st.DataObject, names: list[tuple[str, str]]) -> None:
        """Move one of these, if there is one, to another folder."""
        if names:
            source, name = data.draw(st.sampled_from(names))
            self.hall.move(
                name, source, data.draw(st.sampled_from([state for state in STATES if state != source]))
            )

    def names(self) -> list[tuple[str, str]]:
        """All messages, with their folders."""
        return [
            (state, name) for state in STATES for name in sorted(self.hall.disk.take_all(LAYOUT.folder(state)))
        ]

    @rule(data=st.data(), seconds=st.sampled_from([-DAY, 100.0, 1000 * DAY]))
    def touch(self, data: st.DataObject, seconds: float) -> None:
        """A person gives a file another time."""
        names = sorted(self.hall.disk.take_all(LAYOUT.folder("cur")))
        if names:
            path = LAYOUT.message("cur", data.draw(st.sampled_from(names)))
            self.hall.disk.touch(path, self.hall.disk.clock.seconds + seconds)

    @rule()
    def kill(self) -> None:
        """The delivery process dies, and another one begins."""
        self.jobs.clear()
        self.hall.start()
        self.known |= self.lately
        self.lately = set()

    @rule(seed=st.integers(0, 1000))
    def cut_the_power(self, seed: int) -> None:
        """What was not durable is lost, in one of the ways there are."""
        images = list(self.hall.disk.images())
        image, is_kill = random.Random(seed).choice(images)
        if is_kill:
            self.known |= self.lately
        self.lately = set()
        self.jobs.clear()
        self.hall.disk = MemoryDisk.after(image, self.hall.disk.folders, self.hall.disk.clock)
        self.hall.start()

    # What must be.

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Who has not got it, and was not refused, is waiting for it."""
        there = {
            name.partition(",")[0] for state in STATES for name in self.hall.disk.take_all(LAYOUT.folder(state))
        }
        for key in self.accepted:
            assert key in self.taken or key in self.failed or key[0] in there, f"{key} is lost"

    @invariant()
    def nothing_is_taken_for_unsound(self) -> None:
        """All that is there is ours."""
        assert not self.hall.set_aside()
        assert not self.hall.troubles()

    def teardown(self) -> None:
        """All that is held or failed is moved to new/; then everything is delivered."""
        for job in list(self.jobs.values()):
            self.hall.queue.put_back(job)
            del self.jobs[job.id]
        for state in ("hold", "failed"):
            for name in self.hall.disk.take_all(LAYOUT.folder(state)):
                self.hall.move(name, state, "new")
        for _ in range(10):
            self.hall.go_on(DAY)
            self.hall.look()
            for job in self.hall.queue.take(100, self.hall.disk.clock.seconds):
                self.jobs[job.id] = job
                self.owing[job.id] = {each.attempt for each in job.owed}
                self.end(job, self.attempt(job, job.open, [Kind.DELIVERED] * 3))
            self.hall.queue.tidy()
        assert self.hall.where() == {}
        assert self.hall.disk.take_all(LAYOUT.folder("journal")) == {}
        for key in self.accepted:
            assert key in self.taken or key in self.failed, f"{key} is lost"
        told = {message_id for message_id, _ in self.told}
        for message_id in self.owed:
            assert message_id in told, f"nobody was told of what became of {message_id}"

    # The exchangers.

    def attempt(self, job: Job, recipients: tuple[int, ...], kinds: list[Kind]) -> list[Outcome]:
        """What comes of an attempt; a notification is always taken."""
        content = b"".join(self.hall.queue.read(job)) if recipients else b""
        if content.startswith(b"about "):
            about, attempt = content.decode().split()[1:]
            self.told.add((about, int(attempt)))
            kinds = [Kind.DELIVERED]
        outcomes = []
        for index, kind in zip(recipients, kinds, strict=False):
            assert (job.id, index) not in self.known, f"{(job.id, index)} gets it again"
            if kind.is_delivery:
                self.taken.add((job.id, index))
            outcomes.append(outcome(kind, index, attempt=job.attempt))
        return outcomes

    def end(self, job: Job, outcomes: list[Outcome]) -> None:
        """Settle a job, with a notification for each attempt that owes one."""
        owing = self.owing[job.id] | {each.attempt for each in outcomes if each.kind.is_owed}
        notices = tuple(notice(job, attempt) for attempt in sorted(owing))
        self.hall.queue.settle(Settlement(job, tuple(outcomes), LATER, notices))
        self.learn(job, outcomes)
        del self.jobs[job.id]

    def learn(self, job: Job, outcomes: list[Outcome]) -> None:
        """What the spool has said that it knows."""
        for each in outcomes:
            if each.kind.is_final:
                self.lately |= {(job.id, index) for index in each.recipients}
            if each.kind.is_failure:
                self.failed |= {(job.id, index) for index in each.recipients}
            if each.kind.is_owed:
                self.owed.add(job.id)
                self.owing[job.id].add(each.attempt)


def lives(examples: int) -> settings:
    """So many lives."""
    return settings(
        max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )


TestMoves = Moves.TestCase
TestMoves.settings = lives(8)


@pytest.mark.long
def test_in_many_more_lives_no_mail_is_lost() -> None:
    """As many as there is time for."""
    run_state_machine_as_test(Moves, settings=lives(100))
