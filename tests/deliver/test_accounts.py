"""Accounts: each outcome reaches the spool once and in time, whatever the spool does meanwhile."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.config import Config, load
from relayd.base.counters import Board
from relayd.deliver.accounts import Accounts, Office
from relayd.deliver.digest import Digests, Verdict
from relayd.deliver.ending import Ending
from relayd.deliver.limits import Limits
from relayd.deliver.parcel import Via, parcels
from relayd.spool.errors import LeaseLost, SpoolFailed, SpoolFull
from relayd.spool.ids import derived
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome
from tests.deliver.fake_spool import FakeSpool
from tests.deliver.making import ID, asking, job, outcome, parcel

VIA = Via("mx.example.net", "192.0.2.1:25", 0.001, "it is the only one")


class Bureau:
    """Accounts with a spool whose thread and timer run when the test says so."""

    def __init__(self, config: Config, limits: Limits | None = None, digests: Digests | None = None) -> None:
        self.spool = FakeSpool()
        self.work: list[tuple[Callable[[], object], Callable[[object], None]]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.events: list[events.Event] = []
        self.bugs: list[Exception] = []
        self.settled = 0
        self.counters = Board(1).slot(0)
        self.office = Office(
            ask=self._ask,
            in_spool=lambda work, done: self.work.append((work, done)),
            together=self._together,
            later=lambda seconds, call: self.timers.append((seconds, call)),
            write=self.events.append,
            bug=lambda where, error: self.bugs.append(error),
            counters=self.counters,
            dice=random.Random(1),
            settled=self._settled,
        )
        self.accounts = Accounts(config, self.spool, limits or Limits(), self.office, digests)

    async def _ask(self, work: Callable[[], object]) -> object:
        return work()

    def _together(
        self, work: Callable[[Sequence[Ending]], Sequence[object]], item: Ending, done: Callable[[object], None]
    ) -> None:
        def alone() -> object:
            (result,) = work([item])
            if isinstance(result, Exception):
                raise result
            return result

        self.work.append((alone, done))

    def _settled(self) -> None:
        self.settled += 1

    def run(self) -> None:
        """Let the spool's thread do what it was handed, and what follows from that."""
        while self.work:
            work, done = self.work.pop(0)
            try:
                result = work()
            except Exception as error:
                result = error
            done(result)

    def wait(self) -> float:
        """Let the timer that is set ring; how many seconds that was."""
        ((seconds, call),) = self.timers
        self.timers.clear()
        call()
        return seconds

    def named(self, kind: type[events.Event]) -> list[events.Event]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration as it comes."""
    path = tmp_path / "relayd.toml"
    path.write_text('hostname = "relay.example.org"\n')
    return load(path)


@pytest.fixture
def bureau(config: Config) -> Bureau:
    """Accounts as they begin."""
    return Bureau(config)


def report(bureau: Bureau, of: Job, kind: Kind, *recipients: int) -> Outcome:
    """One parcel of the job comes to an end."""
    found = outcome(kind, *recipients, at=datetime.now(UTC))
    bureau.accounts.report(parcel(of, *recipients), (found,), VIA)
    return found


def two() -> Job:
    """A message for two recipients."""
    return job("a@example.net", "b@example.com")


def test_one_parcel_is_settled_at_once(bureau: Bureau) -> None:
    """There is nothing to wait for, and no line to write before."""
    made = job()
    bureau.accounts.open(made, 1)
    found = report(bureau, made, Kind.DELIVERED, 0)
    assert bureau.accounts.is_at_work
    bureau.run()
    (settlement,) = bureau.spool.settled
    assert (settlement.job, settlement.outcomes, settlement.notices) == (made, (found,), ())
    assert bureau.spool.recorded == []
    assert (len(bureau.accounts), bureau.settled, bureau.accounts.is_at_work) == (0, 1, False)


def test_outcomes_are_recorded_while_other_parcels_are_under_way(bureau: Bureau) -> None:
    """A crash meanwhile must not send them again; the last one goes with the settlement."""
    made = two()
    bureau.accounts.open(made, 2)
    first = report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    assert bureau.spool.recorded == [(first,)]
    assert bureau.spool.settled == []
    second = report(bureau, made, Kind.DEFERRED, 1)
    bureau.run()
    assert [each.outcomes for each in bureau.spool.settled] == [(second,)]


def test_the_spool_has_one_step_of_a_message_at_a_time(bureau: Bureau) -> None:
    """What comes while it works waits, and goes together."""
    made = job(*(f"{name}@{name}.test" for name in "abcd"))
    bureau.accounts.open(made, 4)
    outcomes = [report(bureau, made, Kind.DELIVERED, index) for index in range(3)]
    assert len(bureau.work) == 1
    bureau.run()
    assert bureau.spool.recorded == [(outcomes[0],), (outcomes[1], outcomes[2])]


def test_what_could_not_be_recorded_is_in_the_settlement(bureau: Bureau) -> None:
    """Else the settlement would leave a recipient open who has the mail already."""
    made = two()
    bureau.accounts.open(made, 2)
    bureau.spool.trouble = [SpoolFull("disk full")]
    first = report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    second = report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert bureau.spool.settled == []
    bureau.wait()
    bureau.run()
    assert [each.outcomes for each in bureau.spool.settled] == [(first, second)]


def test_a_settlement_is_offered_until_the_disk_takes_it(bureau: Bureau) -> None:
    """Ten seconds later, then twice as long, up to two minutes; each time the same."""
    made = job()
    bureau.accounts.open(made, 1)
    bureau.spool.trouble = [SpoolFailed("EIO") for _ in range(6)]
    report(bureau, made, Kind.DEFERRED, 0)
    bureau.run()
    pauses = []
    while bureau.timers:
        assert not bureau.accounts.is_at_work
        pauses.append(bureau.wait())
        bureau.run()
    assert pauses == [10.0, 20.0, 40.0, 80.0, 120.0, 120.0]
    assert len(bureau.spool.settled) == 1
    assert len(bureau.named(events.SpoolTrouble)) == 6
    assert (len(bureau.accounts), bureau.settled) == (0, 1)


def test_a_step_that_worked_ends_the_trouble(bureau: Bureau) -> None:
    """The next failure is given ten seconds again."""
    made = two()
    bureau.accounts.open(made, 2)
    bureau.spool.trouble = [SpoolFailed("EIO"), SpoolFailed("EIO")]
    report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    bureau.wait()
    bureau.run()
    assert bureau.wait() == 20.0
    bureau.run()
    bureau.spool.trouble = [SpoolFailed("EIO")]
    report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert bureau.wait() == 10.0


def test_a_bug_in_a_step_is_told_and_the_step_comes_again(bureau: Bureau) -> None:
    """The message neither vanishes nor is tried in a hot loop."""
    made = job()
    bureau.accounts.open(made, 1)
    error = ZeroDivisionError("a bug")
    bureau.spool.trouble = [error]
    report(bureau, made, Kind.FAILED, 0)
    bureau.run()
    assert bureau.bugs == [error]
    assert len(bureau.accounts) == 1
    assert bureau.named(events.DsnQueued) == []
    assert bureau.wait() == 10.0
    bureau.run()
    assert len(bureau.spool.settled) == 1
    assert len(bureau.named(events.DsnQueued)) == 1


def test_a_bug_in_composing_a_notice_keeps_the_outcomes(bureau: Bureau) -> None:
    """They are recorded, so that nobody gets a second copy; the notice is tried again later."""
    made = two()
    bureau.accounts.open(made, 2)
    bureau.spool.mail[ID] = [ZeroDivisionError("a bug")]
    first = report(bureau, made, Kind.FAILED, 0)
    bureau.run()
    second = report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert bureau.spool.recorded == [(first,), (second,)]
    assert (len(bureau.bugs), bureau.spool.settled) == (1, [])
    del bureau.spool.mail[ID]
    bureau.wait()
    bureau.run()
    assert len(bureau.spool.settled[0].notices) == 1


def test_what_cannot_be_told_is_settled_all_the_same(config: Config) -> None:
    """The log is the least of it, and whoever reports has more to report."""
    bureau = Bureau(config)
    error = ZeroDivisionError("a bug")

    def write(event: events.Event) -> None:
        raise error

    bureau.office = replace(bureau.office, write=write)
    bureau.accounts = Accounts(config, bureau.spool, Limits(), bureau.office)
    made = job()
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    assert bureau.bugs == [error]
    assert len(bureau.spool.settled) == 1


def test_a_second_report_of_a_parcel_is_a_bug_and_no_more(bureau: Bureau) -> None:
    """The message is gone by then."""
    made = job()
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    report(bureau, made, Kind.DELIVERED, 0)
    assert [type(each) for each in bureau.bugs] == [LookupError]
    assert len(bureau.spool.settled) == 1


def test_a_lost_lease_is_the_end(bureau: Bureau) -> None:
    """Somebody else has the message: nothing more is written, nobody is told of a notification."""
    made = job()
    bureau.accounts.open(made, 1)
    bureau.spool.trouble = [LeaseLost("token 1 is not the live one")]
    report(bureau, made, Kind.FAILED, 0)
    bureau.run()
    assert (len(bureau.accounts), bureau.settled, bureau.timers, bureau.spool.settled) == (0, 1, [], [])
    assert bureau.named(events.DsnQueued) == []


def test_a_lease_lost_early_waits_for_the_parcels_under_way(bureau: Bureau) -> None:
    """Their reports are still heard, and lead to nothing."""
    made = two()
    bureau.accounts.open(made, 2)
    bureau.spool.trouble = [LeaseLost("token 1 is not the live one")]
    report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    assert len(bureau.accounts) == 1
    report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert (len(bureau.accounts), bureau.spool.settled) == (0, [])


# The next attempt.


def test_the_next_attempt_follows_the_schedule(bureau: Bureau) -> None:
    """The third interval after the third attempt."""
    made = job(attempt=3)
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DEFERRED, 0)
    bureau.run()
    pause = (bureau.spool.settled[0].next - datetime.now(UTC)).total_seconds()
    assert 1600 < pause < 2000


def test_a_date_is_drawn_once(bureau: Bureau) -> None:
    """The settlement that is offered again is the same one."""
    made = job()
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DEFERRED, 0)
    (work, _), before = bureau.work[0], datetime.now(UTC)
    work()
    bureau.spool.trouble = [SpoolFailed("EIO")]
    bureau.run()
    bureau.wait()
    bureau.run()
    assert bureau.spool.settled[0].next == bureau.spool.settled[1].next > before


def test_what_was_not_tried_is_put_back_for_a_moment(bureau: Bureau) -> None:
    """Without a line in a journal: nothing was learned."""
    made = job()
    bureau.accounts.open(made, 1)
    bureau.accounts.report(parcel(made), (), Via())
    bureau.run()
    ((returned, due),) = bureau.spool.returned
    assert returned == made
    assert due is not None
    assert 25 < (due - datetime.now(UTC)).total_seconds() < 65
    assert (bureau.spool.settled, len(bureau.accounts)) == ([], 0)


def test_what_was_tried_in_part_is_settled(bureau: Bureau) -> None:
    """The recipients that were not tried stay open."""
    made = two()
    bureau.accounts.open(made, 2)
    bureau.accounts.report(parcel(made, 0), (), Via())
    found = report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert [each.outcomes for each in bureau.spool.settled] == [(found,)]
    assert bureau.spool.returned == []


def test_what_was_not_tried_comes_soon_although_others_are_done(bureau: Bureau) -> None:
    """Nobody of those who are open has been tried, so that none has to wait for an interval."""
    made = job("a@example.net", "b@example.com", attempt=6)
    bureau.accounts.open(made, 2)
    bureau.accounts.report(parcel(made, 0), (), Via())
    report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert bureau.spool.settled[0].next - datetime.now(UTC) < timedelta(seconds=65)


def test_of_several_destinations_that_rest_the_first_to_be_over_counts(bureau: Bureau) -> None:
    """Whichever was heard of last."""
    soon = datetime.now(UTC) + timedelta(minutes=5)
    for rests in ((soon, soon + timedelta(hours=3)), (soon + timedelta(hours=3), soon)):
        made = two()
        bureau.accounts.open(made, 2)
        for index, until in enumerate(rests):
            bureau.accounts.postpone(parcel(made, index), until)
        bureau.run()
    for _, due in bureau.spool.returned:
        assert due is not None
        assert soon <= due <= soon + timedelta(seconds=5)


def test_a_message_without_parcels_goes_to_its_end(bureau: Bureau) -> None:
    """A crash came between the last outcome and the end of the file."""
    bureau.accounts.open(job(still_open=[]), 0)
    bureau.run()
    assert len(bureau.spool.settled) == 1
    assert bureau.spool.settled[0].outcomes == ()


# Giving up, and telling of it.


def test_a_failed_attempt_after_the_lifetime_gives_up(bureau: Bureau) -> None:
    """What was deferred is expired, and the originator is told; a delivery stays one."""
    made = job("a@example.net", "b@example.com", arrived=datetime.now(UTC) - timedelta(days=6))
    bureau.accounts.open(made, 2)
    report(bureau, made, Kind.DELIVERED, 0)
    report(bureau, made, Kind.DEFERRED, 1)
    bureau.run()
    kinds = [each.kind for outcomes in bureau.spool.recorded for each in outcomes]
    kinds += [each.kind for settlement in bureau.spool.settled for each in settlement.outcomes]
    assert kinds == [Kind.DELIVERED, Kind.EXPIRED]
    assert len(bureau.spool.settled[0].notices) == 1


def test_a_week_without_an_attempt_gives_nothing_up(bureau: Bureau) -> None:
    """The lifetime is judged after a failed attempt only."""
    made = job(arrived=datetime.now(UTC) - timedelta(days=6))
    bureau.accounts.open(made, 1)
    bureau.accounts.report(parcel(made), (), Via())
    bureau.run()
    assert len(bureau.spool.returned) == 1


def test_all_failures_of_an_attempt_share_one_notice(bureau: Bureau) -> None:
    """Though they were recorded one by one."""
    made = job("a@example.net", "b@example.com", "c@example.org")
    bureau.accounts.open(made, 3)
    for index, kind in enumerate([Kind.FAILED, Kind.DELIVERED, Kind.FAILED]):
        report(bureau, made, kind, index)
        bureau.run()
    (notice,) = bureau.spool.settled[0].notices
    assert b"a@example.net" in notice.mail_data
    assert b"c@example.org" in notice.mail_data
    assert b"b@example.com" not in notice.mail_data
    assert bureau.named(events.DsnQueued) == [
        events.DsnQueued(id=derived(ID, 1), about=ID, recipient="<alice@example.org>")
    ]


def test_what_a_crash_left_owed_is_told_with_the_next_settlement(bureau: Bureau) -> None:
    """With its own attempt's number, so that its notification has the ID it always had."""
    owed = outcome(Kind.FAILED, 0, attempt=1)
    made = job("a@example.net", "b@example.com", still_open=[1], attempt=2, owed=(owed,))
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert [notice.attempt for notice in bureau.spool.settled[0].notices] == [1]


def test_owed_failures_are_settled_though_nothing_was_tried(bureau: Bureau) -> None:
    """Putting the message back would leave the originator without word."""
    made = job("a@example.net", "b@example.com", still_open=[1], owed=(outcome(Kind.FAILED, 0),))
    bureau.accounts.open(made, 1)
    bureau.accounts.report(parcel(made, 1), (), Via())
    bureau.run()
    assert len(bureau.spool.settled[0].notices) == 1


def test_a_failure_that_nobody_is_told_of_is_logged_and_counted(bureau: Bureau) -> None:
    """A null reverse-path and no postmaster."""
    made = job("a@example.net", "b@example.net", reverse_path=None)
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.FAILED, 0, 1)
    bureau.run()
    assert bureau.spool.settled[0].notices == ()
    (omitted,) = bureau.named(events.DsnOmitted)
    assert isinstance(omitted, events.DsnOmitted)
    assert omitted.recipients == "<a@example.net>,<b@example.net>"
    assert bureau.counters.get("undeliverable") == 2
    assert bureau.counters.get("notifications") == 0


def test_a_notice_is_not_told_of_before_it_is_in_the_spool(bureau: Bureau) -> None:
    """The log says what is."""
    made = job()
    bureau.accounts.open(made, 1)
    bureau.spool.trouble = [SpoolFull("disk full")]
    report(bureau, made, Kind.FAILED, 0)
    bureau.run()
    assert bureau.named(events.DsnQueued) == []
    bureau.wait()
    bureau.run()
    assert len(bureau.named(events.DsnQueued)) == 1


def test_outcomes_are_logged_and_counted_by_recipient(bureau: Bureau) -> None:
    """The exchanger, why it was chosen, and its reply."""
    made = job("a@example.net", "b@example.net")
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DELIVERED, 0, 1)
    (event,) = bureau.named(events.DeliveryDelivered)
    assert isinstance(event, events.DeliveryDelivered)
    assert (event.id, event.recipients) == (ID, "<a@example.net>,<b@example.net>")
    assert (event.exchanger, event.chosen, event.reply) == ("mx.example.net", "it is the only one", "250 2.0.0 Ok")
    assert bureau.counters.get("delivered") == 2


@pytest.mark.parametrize(
    ("kind", "counter", "event"),
    [
        (Kind.DEFERRED, "deferred", events.DeliveryDeferred),
        (Kind.FAILED, "failed", events.DeliveryFailed),
        (Kind.IN_DOUBT, "in_doubt", events.DeliveryInDoubt),
    ],
)
def test_each_kind_has_its_event_and_counter(
    bureau: Bureau, kind: Kind, counter: str, event: type[events.Event]
) -> None:
    """One recipient, one count, one line."""
    made = job()
    bureau.accounts.open(made, 1)
    report(bureau, made, kind, 0)
    assert bureau.counters.get(counter) == 1
    assert len(bureau.named(event)) == 1


def test_every_parcel_of_a_message_is_waited_for(bureau: Bureau) -> None:
    """Three hundred recipients at one domain are three parcels."""
    made = job(*(f"user{number}@example.net" for number in range(300)))
    portions = parcels(made, made.open, lambda domain: domain)
    bureau.accounts.open(made, len(portions))
    for each in portions:
        assert bureau.spool.settled == []
        found = replace_recipients(outcome(Kind.DELIVERED), each.recipients)
        bureau.accounts.report(each, (found,), VIA)
        bureau.run()
    assert len(bureau.spool.settled) == 1


def test_an_attempt_fails_when_nobody_got_the_message(bureau: Bureau) -> None:
    """One of a hundred recipients is enough, whatever else was said; what was not tried has not failed."""
    for found, failed in (
        ((Kind.DEFERRED, Kind.FAILED), 1),
        ((Kind.DELIVERED, Kind.FAILED), 1),
        ((), 1),
        ((Kind.IN_DOUBT,), 2),
    ):
        made = job("a@example.net", "b@example.net")
        bureau.accounts.open(made, 1)
        bureau.accounts.report(parcel(made), tuple(outcome(kind, index) for index, kind in enumerate(found)), VIA)
        bureau.run()
        assert bureau.counters.get("attempts_failed") == failed


def replace_recipients(found: Outcome, recipients: tuple[int, ...]) -> Outcome:
    """The same outcome for others."""
    return Outcome(at=found.at, recipients=recipients, kind=found.kind, reply=found.reply, attempt=found.attempt)


def test_the_configured_lifetime_counts(config: Config) -> None:
    """Not the default."""
    short = replace(config, delivery=replace(config.delivery, lifetime=60.0))
    bureau = Bureau(short)
    made = job(arrived=datetime.now(UTC) - timedelta(seconds=61))
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.DEFERRED, 0)
    bureau.run()
    assert bureau.spool.settled[0].outcomes[0].kind is Kind.EXPIRED


# In doubt.


def holding(config: Config) -> Bureau:
    """Accounts of an operator who wants to decide."""
    return Bureau(replace(config, delivery=replace(config.delivery, in_doubt="hold")))


def test_a_message_in_doubt_is_held_where_a_person_is_to_decide(config: Config) -> None:
    """And tried again where nobody is: that is the default, and RFC 5321's rule."""
    for bureau, hold in ((Bureau(config), False), (holding(config), True)):
        bureau.accounts.open(job("a@example.net"), 1)
        report(bureau, job("a@example.net"), Kind.IN_DOUBT, 0)
        bureau.run()
        assert [each.hold for each in bureau.spool.settled] == [hold]


def test_what_is_in_doubt_beyond_its_lifetime_is_still_for_a_person_to_decide(config: Config) -> None:
    """It may have arrived: a notification of failure could be untrue. Others of the message are given up."""
    old = datetime.now(UTC) - timedelta(days=6)
    for bureau, kinds in (
        (Bureau(config), {Kind.EXPIRED}),
        (holding(config), {Kind.EXPIRED, Kind.IN_DOUBT}),
    ):
        made = job("a@example.net", "b@example.net", arrived=old)
        bureau.accounts.open(made, 1)
        found = (outcome(Kind.DEFERRED, 0), outcome(Kind.IN_DOUBT, 1))
        bureau.accounts.report(parcel(made), found, VIA)
        bureau.run()
        (settlement,) = bureau.spool.settled
        assert {each.kind for each in settlement.outcomes} == kinds
        assert settlement.hold is (Kind.IN_DOUBT in kinds)
        assert len(settlement.notices) == 1


def test_that_a_message_may_arrive_is_written_down_before_it_goes(config: Config) -> None:
    """A kill between the final dot and its answer leaves word of it."""
    bureau = holding(config)
    bureau.accounts.open(job("a@example.net"), 1)
    asyncio.run(bureau.accounts.promise(parcel(job("a@example.net")), VIA))
    ((told,),) = bureau.spool.recorded
    assert (told.kind, told.recipients, told.exchanger) == (Kind.IN_DOUBT, (0,), "mx.example.net")


def test_a_message_whose_process_was_killed_past_the_dot_is_held(config: Config) -> None:
    """Without an attempt: the journal of the process before says that it may have arrived."""
    bureau = holding(config)
    bureau.accounts.open(job("a@example.net", is_cut=True), 0, True)
    bureau.run()
    assert [(each.hold, each.outcomes) for each in bureau.spool.settled] == [(True, ())]


def test_what_a_route_holds_is_held_whatever_is_done_with_doubts(bureau: Bureau) -> None:
    """Without an attempt and without an outcome; whom it owes word is told."""
    bureau.accounts.open(job("a@held.test"), 0, True)
    bureau.run()
    assert [(each.hold, each.outcomes, each.notices) for each in bureau.spool.settled] == [(True, (), ())]
    assert bureau.spool.returned == []


def test_both_parts_of_a_divided_parcel_are_waited_for(bureau: Bureau) -> None:
    """The first is recorded when it ends, so that nobody in it gets a second copy; the second settles."""
    made = job("a@example.net", "b@example.net")
    bureau.accounts.open(made, 1)
    bureau.accounts.divide(parcel(made))
    first = report(bureau, made, Kind.DELIVERED, 0)
    bureau.run()
    assert (bureau.spool.recorded, bureau.spool.settled) == ([(first,)], [])
    second = report(bureau, made, Kind.DELIVERED, 1)
    bureau.run()
    assert [each.outcomes for each in bureau.spool.settled] == [(second,)]
    bureau.accounts.divide(parcel(made))
    assert len(bureau.bugs) == 1, "it is not in flight any more"


# A delay.


def test_a_sender_is_told_once_that_a_message_is_late(config: Config) -> None:
    """After the time that the operator has set, while somebody is still open; off by default."""
    late = datetime.now(UTC) - timedelta(hours=5)
    warned = replace(config, delivery=replace(config.delivery, delay_warning=4 * 3600.0))
    for settings, made, count in (
        (config, job("a@example.net", arrived=late), 0),
        (warned, job("a@example.net"), 0),
        (warned, job("a@example.net", arrived=late), 1),
        (warned, job("a@example.net", arrived=late, is_warned=True), 0),
        (warned, job("a@example.net", arrived=late, reverse_path=None), 0),
    ):
        bureau = Bureau(settings)
        bureau.accounts.open(made, 1)
        report(bureau, made, Kind.DEFERRED, 0)
        bureau.run()
        (settlement,) = bureau.spool.settled
        assert [notice.attempt for notice in settlement.notices] == [0] * count
        assert all(b"Action: delayed" in notice.mail_data for notice in settlement.notices)
        assert all(b"Will-Retry-Until: " in notice.mail_data for notice in settlement.notices)


# Many failures.


def failing(bureau: Bureau, *ids: str, owed: tuple[Outcome, ...] = ()) -> None:
    """Each of these messages fails; or, with `owed`, comes again for that."""
    for each in ids:
        made = job("a@example.net", message_id=each, owed=owed, still_open=() if owed else None)
        bureau.accounts.open(made, 0 if owed else 1)
        if not owed:
            report(bureau, made, Kind.FAILED, 0)
        bureau.run()


def test_beyond_so_many_an_hour_a_failure_stays_owed_for_an_hour(config: Config) -> None:
    """The first are told at once; the rest is recorded, and its messages come again."""
    bureau = Bureau(config, Limits(notices=1))
    failing(bureau, "one", "two", "three")
    assert [(len(each.notices), each.owe) for each in bureau.spool.settled] == [(1, False), (0, True), (0, True)]
    assert all(each.outcomes for each in bureau.spool.settled)
    later = bureau.spool.settled[1].next - datetime.now(UTC)
    assert timedelta(minutes=59) < later < timedelta(minutes=61)
    assert len(bureau.accounts) == 0


def test_word_of_success_that_was_asked_for_never_waits(config: Config) -> None:
    """However much an originator is told: it is no failure, and counts as none."""
    bureau = Bureau(config, Limits(notices=1))
    for each in ("one", "two", "three"):
        made = asking(job("a@example.net", message_id=each), "SUCCESS")
        bureau.accounts.open(made, 1)
        report(bureau, made, Kind.RELAYED, 0)
        bureau.run()
    failing(bureau, "four", "five")
    told = [(len(each.notices), each.owe) for each in bureau.spool.settled]
    assert told == [(1, False), (1, False), (1, False), (1, False), (0, True)]
    assert b"Action: relayed" in bureau.spool.settled[0].notices[0].mail_data


def test_a_failure_that_nobody_wants_to_hear_of_does_not_wait_for_a_summary(config: Config) -> None:
    """NOTIFY=NEVER: the message ends, and the originator's hour is not spent on it."""
    bureau = Bureau(config, Limits(notices=0))
    made = asking(job("a@example.net"), "NEVER")
    bureau.accounts.open(made, 1)
    report(bureau, made, Kind.FAILED, 0)
    bureau.run()
    (settlement,) = bureau.spool.settled
    assert (settlement.notices, settlement.owe) == ((), False)
    assert len(bureau.named(events.DsnOmitted)) == 1


def test_word_of_success_that_is_owed_from_before_is_given(config: Config) -> None:
    """A process died between its record of the delivery and the notification."""
    bureau = Bureau(config)
    made = asking(job("a@example.net", owed=(outcome(Kind.RELAYED, 0),), still_open=(), attempt=2), "SUCCESS")
    bureau.accounts.open(made, 0)
    bureau.run()
    (settlement,) = bureau.spool.settled
    assert [notice.attempt for notice in settlement.notices] == [1]


@pytest.mark.parametrize("due", [None, timedelta(minutes=5)])
def test_who_was_not_tried_does_not_wait_for_the_summary(config: Config, due: timedelta | None) -> None:
    """Another recipient's failure is owed for an hour; this one comes when it would have come."""
    bureau = Bureau(config, Limits(notices=0))
    made = two()
    bureau.accounts.open(made, 2)
    report(bureau, made, Kind.FAILED, 0)
    if due is None:
        bureau.accounts.report(parcel(made, 1), (), Via())
    else:
        bureau.accounts.postpone(parcel(made, 1), datetime.now(UTC) + due)
    bureau.run()
    (*_, settlement) = bureau.spool.settled
    assert settlement.owe
    assert settlement.next - datetime.now(UTC) < timedelta(minutes=6)


def test_what_is_collected_for_a_summary_is_written_down_first(config: Config) -> None:
    """Should the process end meanwhile, nobody who has the mail gets it again, and the failure is owed still."""
    bureau = Bureau(config, digests=PastDigests())
    made = job("a@example.net", "b@example.net")
    bureau.accounts.open(made, 1)
    found = (outcome(Kind.DELIVERED, 0), outcome(Kind.FAILED, 1))
    bureau.accounts.report(parcel(made), found, VIA)
    bureau.run()
    assert (bureau.spool.recorded, bureau.spool.settled) == ([found], [])
    assert not bureau.accounts.is_at_work
    bureau.wait()
    bureau.run()
    assert [len(each.notices) for each in bureau.spool.settled] == [1]


def test_what_is_owed_is_told_in_one_summary(config: Config) -> None:
    """It is queued as the first one's; the others end when it is, and say so."""
    bureau = Bureau(config, digests=PastDigests())
    failing(bureau, "one", "two", "three", owed=(outcome(Kind.FAILED, 0),))
    assert bureau.spool.settled == []
    assert bureau.wait() == Limits().collect
    bureau.run()
    first, *others = bureau.spool.settled
    (notice,) = first.notices
    assert [each.job.id for each in (first, *others)] == ["one", "two", "three"]
    assert all(each.notices == () and each.told_by == derived("one", 1) for each in others)
    for expected in (b"3 messages", b"Queue ID one", b"Queue ID three", b"no such user", b"Action: failed"):
        assert expected in notice.mail_data
    assert len(bureau.accounts) == 0


def test_a_summary_that_the_disk_refuses_is_written_later_and_nothing_ends_before_it(config: Config) -> None:
    """The others wait for it."""
    bureau = Bureau(config, digests=PastDigests())
    failing(bureau, "one", "two", owed=(outcome(Kind.FAILED, 0),))
    bureau.wait()
    bureau.spool.trouble = [SpoolFailed("the disk is gone")]
    bureau.run()
    assert bureau.spool.settled == []
    bureau.wait()
    bureau.run()
    assert [len(each.notices) for each in bureau.spool.settled] == [1, 0]


def test_a_summary_whose_first_message_is_lost_is_the_next_ones(config: Config) -> None:
    """Somebody took the first away meanwhile: the others are told of all the same, and end."""
    bureau = Bureau(config, digests=PastDigests())
    failing(bureau, "one", "two", "three", owed=(outcome(Kind.FAILED, 0),))
    bureau.wait()
    bureau.spool.trouble = [LeaseLost("one")]
    bureau.run()
    assert [(each.job.id, len(each.notices)) for each in bureau.spool.settled] == [("two", 1), ("three", 0)]
    assert len(bureau.accounts) == 0


def test_a_message_that_is_to_be_held_does_not_wait_for_a_summary(config: Config) -> None:
    """It would come again for what is owed, and its doubtful recipient would get a second copy."""
    held = replace(config, delivery=replace(config.delivery, in_doubt="hold"))
    bureau = Bureau(held, Limits(notices=0))
    made = job("a@example.net", "b@example.net")
    bureau.accounts.open(made, 2)
    report(bureau, made, Kind.FAILED, 0)
    report(bureau, made, Kind.IN_DOUBT, 1)
    bureau.run()
    (settlement,) = bureau.spool.settled
    assert (settlement.hold, settlement.owe, len(settlement.notices)) == (True, False, 1)


def test_no_further_mail_goes_while_much_that_was_taken_is_not_recorded(config: Config) -> None:
    """A kill makes copies of that, so it has a bound; a disk that fails is not waited for."""

    async def main() -> None:
        bureau = Bureau(config, Limits(unrecorded=2))
        for message_id, kind in (("one", Kind.DELIVERED), ("two", Kind.DEFERRED)):
            made = job(message_id=message_id)
            bureau.accounts.open(made, 1)
            report(bureau, made, kind, 0)
        await bureau.accounts.caught_up()
        made = job(message_id="three")
        bureau.accounts.open(made, 1)
        report(bureau, made, Kind.DELIVERED, 0)
        waiting = asyncio.ensure_future(bureau.accounts.caught_up())
        await asyncio.sleep(0)
        assert not waiting.done()
        bureau.spool.trouble = [SpoolFailed("EIO")]
        bureau.run()
        await waiting
        assert [each.job.id for each in bureau.spool.settled] == ["two", "three"]
        bureau.wait()
        bureau.run()
        assert len(bureau.accounts) == 0

    asyncio.run(main())


class PastDigests(Digests):
    """The hour of waiting is over for everybody."""

    def __init__(self) -> None:
        super().__init__(0)

    def judge(self, originator: str, now: datetime) -> tuple[Verdict, datetime]:
        """The summary is due."""
        return Verdict.SUMMARISE, now
