"""A destination and its couriers: every parcel is carried or reported once, by as many connections as help."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from relayd.base import events
from relayd.base.sections import Route
from relayd.deliver.courier import Courier
from relayd.deliver.destination import Destination
from relayd.deliver.exchangers import Candidate
from relayd.deliver.quotas import Lease, Quota
from relayd.deliver.resolve import Resolver
from relayd.deliver.waiting import Waiting
from relayd.spool.errors import NoSuchMessage, NotSound, SpoolFailed, SpoolFull
from relayd.spool.outcome import Kind, Outcome
from tests.deliver.making import ID, job, parcel
from tests.deliver.moods import TRANSACTION, moody
from tests.deliver.peer import peer
from tests.deliver.running import LONGEST_SECONDS, on_each_loop, run, turn
from tests.deliver.town import (
    FIRST,
    SECOND,
    TWO_EQUAL,
    TWO_TIERS,
    Surroundings,
    carried,
    left,
    letters,
    surroundings,
)
from tests.world.session import Session


async def stopped(destination: Destination) -> None:
    """Stop it and wait for its couriers."""
    for task in destination.stop():
        await asyncio.wait([task])


def mails(session: Session) -> int:
    """How many transactions a session has had."""
    return sum(line.startswith(b"MAIL") for line in session.lines)


@on_each_loop
def test_parcels_are_carried_over_a_kept_connection(tmp_path: Path, loop: str) -> None:
    """One after the other, with a QUIT at the end."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, letters(20))
        assert town.kinds() == {Kind.DELIVERED: 20}

    with surroundings(tmp_path) as around:
        run(main, loop)
        (exchanger,) = around.exchangers
        assert (exchanger.connections, len(exchanger.messages)) == (1, 20)
        assert exchanger.sessions[0].lines[-1] == b"QUIT"


def test_a_connection_is_given_back_after_so_many_transactions(tmp_path: Path) -> None:
    """A server must not have us for ever."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01, transactions=5)
        await carried(town, letters(20))
        assert town.kinds() == {Kind.DELIVERED: 20}

    with surroundings(tmp_path) as around:
        run(main)
        assert [mails(session) for session in around.exchangers[0].sessions] == [5, 5, 5, 5]


def test_while_the_spool_is_behind_nothing_goes(tmp_path: Path) -> None:
    """What is taken and not recorded would go again after a kill; the connection is kept meanwhile."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=LONGEST_SECONDS)
        destination = town.destination()
        town.is_near.clear()
        for each in letters(3):
            destination.add(each)
        while not destination.connections:
            await turn()
        assert len(destination._waiting) == 3
        town.is_near.set()
        await town.reported(3)
        assert town.kinds() == {Kind.DELIVERED: 3}
        await stopped(destination)

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].connections == 1


def test_a_parcel_that_comes_later_takes_the_idle_connection(tmp_path: Path) -> None:
    """While it is kept."""

    async def main() -> None:
        town = around.town(idle=LONGEST_SECONDS)
        destination = town.destination()
        for count, each in enumerate(letters(5), start=1):
            destination.add(each)
            await town.reported(count)
            await turn()
        assert destination.connections == 1
        await stopped(destination)

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].connections == 1


@on_each_loop
def test_connections_grow_with_the_queue_up_to_the_limit(tmp_path: Path, loop: str) -> None:
    """Once the first one has found the way."""

    async def main() -> None:
        town = around.town("connections_per_destination = 4", idle=0.01)
        destination = town.destination()
        for each in letters(40):
            destination.add(each)
        await asyncio.to_thread(around.exchangers[0].wait_for, 4)
        assert destination.connections == 4
        gate.set()
        await town.reported(40)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 40}

    gate = threading.Event()
    with surroundings(tmp_path) as around:
        around.exchangers[0].before_final_reply = gate
        run(main, loop)
        assert around.exchangers[0].connections == 4


def test_one_courier_looks_for_the_way(tmp_path: Path) -> None:
    """An exchanger that does not answer is asked once, however much waits for it."""

    async def main() -> None:
        town = around.town(greeting=0.05)
        await carried(town, letters(50))
        assert town.kinds() == {Kind.DEFERRED: 50}

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": b""}
        run(main)
        assert around.exchangers[0].connections == 1


@on_each_loop
def test_all_that_wait_share_the_failure(tmp_path: Path, loop: str) -> None:
    """Those that came while the attempt was running too; nobody is forgotten."""

    async def main() -> None:
        town = around.town()
        destination = town.destination()
        early, late = letters(10)[:5], letters(10)[5:]
        for each in early:
            destination.add(each)
        await asyncio.to_thread(asked.wait, LONGEST_SECONDS)
        for each in late:
            destination.add(each)
        gate.set()
        await town.reported(10)
        assert set(town.replies()) == {"421 busy"}
        assert {via.exchanger for _, _, via in town.reports} == {"mx.example.net"}
        await left(town, destination)

    asked, gate = threading.Event(), threading.Event()

    def busy(session: Session, line: bytes) -> bytes:
        asked.set()
        gate.wait(LONGEST_SECONDS)
        return b"421 busy\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": busy}
        run(main, loop)
        assert around.exchangers[0].connections == 1


def test_a_destination_that_failed_rests_and_new_mail_rests_with_it(tmp_path: Path) -> None:
    """What comes meanwhile is not tried; what a person wants now is, and once it is there the rest is over."""

    async def main() -> None:
        town = around.town(idle=0.01)
        around.exchangers[0].stop()
        destination = await carried(town, letters(3))
        around.exchangers[0].start()
        destination.add(letters(4)[3])
        ((postponed, due),) = town.postponed
        assert postponed.job.id == letters(4)[3].job.id
        assert town.ways.counters.get("attempts_failed") == 1
        # One that was tried before has been counted.
        destination.add(structs.replace(postponed, job=structs.replace(postponed.job, attempt=2)))
        assert town.ways.counters.get("attempts_failed") == 1
        town.postponed.pop()
        assert 0.9 * 300 <= (due - datetime.now(UTC)).total_seconds() + 1 <= 1.1 * 300 + 1
        urgent = letters(5)[4]
        destination.add(structs.replace(urgent, job=structs.replace(urgent.job, is_urgent=True)))
        await town.reported(4)
        assert town.kinds() == {Kind.DEFERRED: 3, Kind.DELIVERED: 1}
        destination.add(letters(6)[5])
        await town.reported(5)
        assert town.kinds() == {Kind.DEFERRED: 3, Kind.DELIVERED: 2}
        kinds = [type(event) for event in town.events if "Circuit" in type(event).__name__]
        assert kinds == [events.CircuitOpened, events.CircuitClosed]
        await left(town, destination)

    with surroundings(tmp_path) as around:
        run(main)


def test_what_is_older_than_its_lifetime_shares_the_failure_of_a_resting_destination(tmp_path: Path) -> None:
    """It would wait for ever otherwise: its lifetime is judged by a failure, and this is one."""

    async def main() -> None:
        town = around.town(idle=0.01)
        around.exchangers[0].stop()
        destination = await carried(town, letters(1))
        old = parcel(job(arrived=datetime.now(UTC) - timedelta(days=6), message_id=letters(2)[1].job.id))
        destination.add(old)
        assert town.postponed == []
        assert town.kinds() == {Kind.DEFERRED: 2}
        await left(town, destination)

    with surroundings(tmp_path) as around:
        run(main)


def test_a_parcel_that_comes_just_as_the_courier_leaves_is_carried(tmp_path: Path) -> None:
    """However the two fall together."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.0)
        destination = town.destination()
        for count, each in enumerate(letters(60), start=1):
            destination.add(each)
            await town.reported(count)
            for _ in range(count % 12):
                await asyncio.sleep(0)
        assert town.kinds() == {Kind.DELIVERED: 60}
        await left(town, destination)

    with surroundings(tmp_path) as around:
        run(main)


def test_an_exchanger_that_bounds_its_connections_defers_nothing(tmp_path: Path) -> None:
    """What more it refuses is no failure of the mail that waits: those it took carry the rest."""

    async def main() -> None:
        town = around.town(idle=0.01)
        await carried(town, letters(40))
        assert town.kinds() == {Kind.DELIVERED: 40}

    def greeting(session: Session, line: bytes) -> bytes | None:
        return None if session.number == 1 else b"421 too many connections\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": greeting}
        run(main)
        # The rest of its ten were tried once, and then no more.
        assert around.exchangers[0].connections <= 10


def test_after_a_refusal_beside_others_no_more_are_opened_for_a_while(tmp_path: Path) -> None:
    """Each new message would be one more connection that is refused."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.now = 1000.0
        destination = town.destination()
        for each in letters(3):
            destination.add(each)
        await asyncio.to_thread(around.exchangers[0].wait_for, 1)
        await town.noted(events.DeliveryAttempted, 2)
        await turn()
        for each in letters(8)[3:]:
            destination.add(each)
        await turn()
        assert len(around.exchangers[0].sessions) == 3
        town.now += 31
        destination.add(letters(9)[8])
        await town.noted(events.DeliveryAttempted, 3)
        gate.set()
        await town.reported(9)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 9}

    gate = threading.Event()

    def greeting(session: Session, line: bytes) -> bytes | None:
        return None if session.number == 1 else b"421 too many connections\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].before_final_reply = gate
        around.exchangers[0].replies = {"CONNECT": greeting}
        run(main)


def test_a_refusal_that_decides_nothing_leaves_nobody_behind(tmp_path: Path) -> None:
    """The courier that came through is gone by then, and a parcel waits for the one that was refused."""

    async def main() -> None:
        town = around.town("connections_per_destination = 2", idle=0.01, transactions=1)
        destination = town.destination()
        first, second, third = letters(3)
        destination.add(first)
        destination.add(second)
        await town.reported(2)
        assert len(around.exchangers[0].sessions) == 3, "the second one is still being greeted"
        destination.add(third)
        gate.set()
        await town.reported(3)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 3}

    gate = threading.Event()

    def greeting(session: Session, line: bytes) -> bytes | None:
        if session.number != 2:
            return None
        gate.wait(LONGEST_SECONDS)
        return b"421 too many connections\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": greeting}
        run(main)


# Which exchanger.


def test_the_fast_one_of_two_equals_gets_the_mail(tmp_path: Path) -> None:
    """At least 95 of 100 after a warm-up of ten; the log says why, with both figures."""

    async def main() -> None:
        town = around.town(idle=0.01)
        destination = await carried(town, letters(10))
        before = len(fast.messages)
        for each in letters(110)[10:]:
            destination.add(each)
        await town.reported(110)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 110}
        assert len(fast.messages) - before >= 95
        assert all(" ms)" in via.chosen for _, _, via in town.reports[10:])
        reasons = {via.chosen.partition(" (")[0] for _, _, via in town.reports[10:]}
        assert "one.example.net" in reasons

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        fast, slow = around.exchangers
        slow.greeting_delay = 0.1
        run(main)


def test_a_slow_connection_is_not_kept_beside_a_fast_one(tmp_path: Path) -> None:
    """Each is measured twice; the fast one has the rest."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, letters(30))
        assert town.kinds() == {Kind.DELIVERED: 30}

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        fast, slow = around.exchangers
        slow.greeting_delay = 0.1
        run(main)
        assert len(slow.messages) == 2
        assert len(fast.messages) == 28


def test_an_idle_connection_is_not_used_when_a_faster_one_was_found_meanwhile(tmp_path: Path) -> None:
    """Much may be learned while nothing comes."""

    async def main() -> None:
        town = around.town(idle=LONGEST_SECONDS)
        one, two = (
            Candidate(10, f"{name}.example.net", ip_address(address), around.port)
            for name, address in [("one", FIRST), ("two", SECOND)]
        )
        town.ways.latencies.greeted(two, 10.0, town.ways.clock())
        destination = town.destination()
        first, second = letters(2)
        destination.add(first)
        await town.reported(1)
        await turn()
        town.ways.latencies.failed(one, town.ways.clock())
        for _ in range(30):
            town.ways.latencies.greeted(two, 0.0, town.ways.clock())
        destination.add(second)
        await town.reported(2)
        assert [via.exchanger for _, _, via in town.reports] == ["one.example.net", "two.example.net"]
        await stopped(destination)

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        run(main)


@on_each_loop
def test_mail_flows_through_the_slow_one_when_the_fast_one_is_gone(tmp_path: Path, loop: str) -> None:
    """The kept connection included: nothing is deferred for that."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=LONGEST_SECONDS)
        destination = town.destination()
        for each in letters(20):
            destination.add(each)
        await town.reported(20)
        fast.stop()
        for each in letters(40)[20:]:
            destination.add(each)
        await town.reported(40)
        assert town.kinds() == {Kind.DELIVERED: 40}
        await stopped(destination)
        await left(town, destination)

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        fast, slow = around.exchangers
        slow.greeting_delay = 0.02
        run(main, loop)
        assert len(fast.messages) + len(slow.messages) == 40


def test_the_better_preference_is_used_and_the_worse_when_it_is_down(tmp_path: Path) -> None:
    """Though the better one is slower; while it is down, it is not asked for every message."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        destination = await carried(town, letters(10))
        assert {via.exchanger for _, _, via in town.reports} == {"one.example.net"}
        better.stop()
        for each in letters(30)[10:]:
            destination.add(each)
        await town.reported(30)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 30}
        assert len(town.named(events.DeliveryAttempted)) <= 2

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        better, worse = around.exchangers
        better.greeting_delay = 0.02
        run(main)
        assert (len(better.messages), len(worse.messages)) == (10, 20)


# A transaction, and what may go wrong in it.


@pytest.mark.parametrize(
    ("verb", "answer", "kind"),
    [
        ("MAIL", b"451 4.7.1 greylisted\r\n", Kind.DEFERRED),
        ("MAIL", b"550 5.7.1 no\r\n", Kind.FAILED),
        ("RCPT", b"450 4.2.1 busy\r\n", Kind.DEFERRED),
        ("RCPT", b"550 5.1.1 no such user\r\n", Kind.FAILED),
        ("DATA", b"451 4.3.0 not now\r\n", Kind.DEFERRED),
        ("DATA", b"554 5.7.1 no\r\n", Kind.FAILED),
        (".", b"452 4.3.1 full\r\n", Kind.DEFERRED),
        (".", b"554 5.6.0 no\r\n", Kind.FAILED),
        ("MAIL", b"421 4.3.2 going down\r\n", Kind.DEFERRED),
        ("RCPT", b"421 4.3.2 going down\r\n", Kind.DEFERRED),
        ("DATA", b"421 4.3.2 going down\r\n", Kind.DEFERRED),
        (".", b"421 4.3.2 going down\r\n", Kind.DEFERRED),
        ("DATA", b"250 what?\r\n", Kind.DEFERRED),
        (".", b"354 what?\r\n", Kind.IN_DOUBT),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
def test_a_reply_from_mail_on_decides_the_attempt(
    tmp_path: Path, verb: str, answer: bytes, kind: Kind, pipelining: bool
) -> None:
    """No further exchanger is asked."""

    async def main() -> None:
        town = around.town(idle=0.01)
        await carried(town, letters(1))
        assert town.kinds() == {kind: 1}
        assert town.bugs == []

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        one, two = around.exchangers
        one.replies = {verb: answer}
        if not pipelining:
            one.extensions = ()
        run(main)
        assert (one.connections, two.connections) == (1, 0)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
@on_each_loop
def test_a_connection_lost_in_a_transaction_ends_the_attempt(tmp_path: Path, loop: str, verb: str) -> None:
    """Deferred before the final dot, in doubt after it; in neither case the next exchanger at once."""

    async def main() -> None:
        town = around.town(idle=0.01)
        await carried(town, letters(1))
        assert town.kinds() == {Kind.IN_DOUBT if verb == "." else Kind.DEFERRED: 1}

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        one, two = around.exchangers
        one.drop_after = verb
        one.drop_after_final_dot = verb == "."
        run(main, loop)
        assert (one.connections, two.connections) == (1, 0)


def test_each_recipient_gets_its_own_reply(tmp_path: Path) -> None:
    """One is taken, one refused, one put off; the mail goes once, for the first."""

    async def main() -> None:
        town = around.town(idle=0.01)
        await carried(town, [parcel(job("a@example.net", "b@example.net", "c@example.net"))])
        assert {each.kind: each.recipients for _, found, _ in town.reports for each in found} == {
            Kind.DELIVERED: (0,),
            Kind.FAILED: (1,),
            Kind.DEFERRED: (2,),
        }

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return {b"b": b"550 5.1.1 no\r\n", b"c": b"450 4.2.1 busy\r\n"}.get(line[9:10])

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"RCPT": rcpt}
        run(main)
        (message,) = around.exchangers[0].messages
        assert message.recipients == (b"RCPT TO:<a@example.net>",)


def test_portions_of_one_message_do_not_touch_each_other(tmp_path: Path) -> None:
    """One of three is refused at its final dot."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        made = job(*(f"user{number}@example.net" for number in range(9)))
        await carried(town, [parcel(made, *range(first, first + 3)) for first in (0, 3, 6)])
        found = {
            index: each.kind for _, outcomes, _ in town.reports for each in outcomes for index in each.recipients
        }
        assert Counter(found.values()) == {Kind.DELIVERED: 6, Kind.FAILED: 3}
        assert {found[3], found[4], found[5]} == {Kind.FAILED}

    def final(session: Session, line: bytes) -> bytes | None:
        return b"554 no\r\n" if session.recipients[0] == b"RCPT TO:<user3@example.net>" else None

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {".": final}
        run(main)


def test_a_transaction_without_recipients_leaves_the_connection_good(tmp_path: Path) -> None:
    """After RSET the next parcel goes over it at once."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, [*letters(1, "gone@example.net"), *letters(2)[1:]])
        assert town.kinds() == {Kind.FAILED: 1, Kind.DELIVERED: 1}

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return b"550 5.1.1 no\r\n" if b"gone" in line else None

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"RCPT": rcpt}
        run(main)
        assert around.exchangers[0].connections == 1


# A kept connection that is gone.


@pytest.mark.parametrize("goodbye", [b"421 4.4.2 idle for too long\r\n", None])
@on_each_loop
def test_a_kept_connection_that_is_gone_costs_no_attempt(tmp_path: Path, loop: str, goodbye: bytes | None) -> None:
    """Nothing was said of the message: it goes over a new connection at once."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, letters(3))
        assert town.kinds() == {Kind.DELIVERED: 3}
        assert town.named(events.DeliveryAttempted) == []

    def mail(session: Session, line: bytes) -> bytes | None:
        if mails(session) == 1:
            return None
        if goodbye is None:
            raise ConnectionAbortedError("without a word")
        return goodbye

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"MAIL": mail}
        run(main, loop)
        assert around.exchangers[0].connections == 3


def test_a_kept_connection_that_answered_mail_has_had_its_attempt(tmp_path: Path) -> None:
    """Lost afterwards, the message waits as after any attempt."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, letters(2))
        assert town.kinds() == {Kind.DELIVERED: 1, Kind.DEFERRED: 1}

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if mails(session) == 1 else b"421 goodbye\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"RCPT": rcpt}
        around.exchangers[0].extensions = ()
        run(main)
        assert around.exchangers[0].connections == 1


class Arriving:
    """A destination as far as one courier needs it; it knows when that has arrived."""

    def __init__(self) -> None:
        self.is_there = asyncio.Event()

    def arrived(self, lease: Lease) -> None:
        """It has."""
        self.is_there.set()

    def carried(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing comes of it."""

    def lost(self) -> None:
        """Nothing comes of it."""

    def make_way(self) -> None:
        """Nobody asks."""

    def invite(self, quota: Quota) -> bool:
        """Nobody does."""
        return False


def test_a_connection_that_was_idle_from_the_start_costs_no_attempt_either(tmp_path: Path) -> None:
    """It was opened for a parcel that another courier took."""

    async def main() -> None:
        town = around.town(idle=LONGEST_SECONDS)
        waiting = Waiting()
        first, second = letters(2)
        waiting.add(first)
        employer = Arriving()
        lease = Lease(town.means.quotas, None, employer, town.ways.clock, 2.0)
        courier = Courier(waiting, town.hop(), town.means, lease, employer)
        running = asyncio.ensure_future(courier.run())
        await turn()
        assert waiting.take() == first
        await employer.is_there.wait()
        await turn()
        waiting.add(second)
        await town.reported(1)
        assert town.kinds() == {Kind.DELIVERED: 1}
        waiting.close()
        await running

    def mail(session: Session, line: bytes) -> bytes | None:
        return b"421 4.4.2 idle for too long\r\n" if session.number == 1 else None

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"MAIL": mail}
        run(main)
        assert around.exchangers[0].connections == 2


def test_a_new_connection_that_is_lost_at_mail_is_an_attempt(tmp_path: Path) -> None:
    """Else an exchanger that always hangs up there would have us for ever; it counts against it."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, letters(3))
        assert town.kinds() == {Kind.DEFERRED: 3}
        (address,) = {via.address for _, _, via in town.reports}
        assert address == f"{FIRST}:{around.port}"
        known = Candidate(10, "mx.example.net", ip_address(FIRST), around.port)
        assert town.ways.latencies.of(known).circuit.failures > 0

    with surroundings(tmp_path) as around:
        around.exchangers[0].drop_after = "MAIL"
        run(main)
        assert around.exchangers[0].connections == 3


# The spool behind it.


@pytest.mark.parametrize(
    "trouble", [NoSuchMessage("gone"), NotSound("became shorter"), SpoolFailed("EIO"), OSError(5, "EIO")]
)
def test_mail_data_that_cannot_be_read_to_its_end_is_not_sent(tmp_path: Path, trouble: Exception) -> None:
    """The exchanger must not take a part for the whole; the log has the reason."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.spool.mail[ID] = [b"Subject: x\r\n\r\n", trouble]
        await carried(town, [parcel(job())])
        assert town.kinds() == {Kind.DEFERRED: 1}
        assert town.replies()[0].startswith("451 4.3.0 spool: ")
        assert len(town.named(events.SpoolTrouble)) == 1
        assert town.bugs == []

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].messages == []


def test_mail_data_that_is_not_in_memory_streams(tmp_path: Path) -> None:
    """Chunk by chunk."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.spool.keeps_in_memory = False
        town.spool.mail[ID] = [b"Subject: x\r\n\r", b"\n.", b"\r\nend\r\n"]
        await carried(town, [parcel(job())])
        assert town.kinds() == {Kind.DELIVERED: 1}

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].messages[0].data == b"Subject: x\r\n\r\n.\r\nend\r\n"


def test_without_room_for_the_outcome_nothing_is_sent(tmp_path: Path) -> None:
    """What is sent and not written down would be sent twice: the parcel comes back untried."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.spool.unreserved = SpoolFull("disk full")
        await carried(town, letters(2))
        assert town.kinds() == {None: 2}

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].commands["MAIL"] == 0


# Bugs.


class Broken:
    """Stands for a part with a defect: it raises whatever it is asked."""

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)


def test_a_bug_in_a_transaction_defers_its_parcel_only(tmp_path: Path) -> None:
    """One report, and the rest goes on."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        parcels = letters(3)
        town.spool.mail[parcels[1].job.id] = [ZeroDivisionError("a bug")]
        await carried(town, parcels)
        assert town.kinds() == {Kind.DELIVERED: 2, Kind.DEFERRED: 1}
        assert [type(each) for each in town.bugs] == [ZeroDivisionError]

    with surroundings(tmp_path) as around:
        run(main)


def test_a_bug_on_the_way_to_an_exchanger_defers_all_that_wait(tmp_path: Path) -> None:
    """Each of them once; the next parcel is tried anew."""

    async def main() -> None:
        town = around.town(idle=0.01)
        ways = replace(town.ways, resolver=cast(Resolver, Broken()))
        town.means = replace(town.means, ways=ways)
        destination = await carried(town, letters(3))
        assert town.kinds() == {Kind.DEFERRED: 3}
        assert set(town.replies()) == {"451 4.3.0 internal error; the log says more"}
        destination.add(letters(4)[3])
        await town.reported(4)
        assert len(town.bugs) == 2

    with surroundings(tmp_path) as around:
        run(main)


# A destination that carries less than it is given.


def test_what_would_wait_too_long_is_given_back_while_the_queue_is_full(tmp_path: Path) -> None:
    """A silent exchanger keeps a hundred parcels; the rest makes room for other mail."""

    async def main() -> None:
        town = around.town()
        destination = town.destination()
        for each in letters(500):
            destination.add(each)
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=True)
        assert town.kinds() == {}, "it has not had its time yet"
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=True)
        assert town.kinds() == {None: 400}
        kept = set(range(500)) - {int(each.job.id) for each, _, _ in town.reports}
        assert kept == set(range(100)), "the oldest are kept"
        destination.add(letters(501)[500])
        assert town.kinds() == {None: 401}, "what comes later has no place either"
        await stopped(destination)

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": b""}
        run(main)


def test_a_destination_has_its_time_however_often_it_is_looked_after(tmp_path: Path) -> None:
    """What was carried in an instant tells nothing."""

    async def main() -> None:
        town = around.town(patience=1.0)
        destination = town.destination()
        for each in letters(500):
            destination.add(each)
        for _ in range(4):
            destination.relieve(0.25, town.ways.limits.backlog_least, is_full=True)
        assert town.kinds() == {}
        for _ in range(4):
            destination.relieve(0.25, town.ways.limits.backlog_least, is_full=True)
        assert town.kinds() == {None: 400}
        await stopped(destination)

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": b""}
        run(main)


def test_nothing_is_given_back_while_there_is_room(tmp_path: Path) -> None:
    """All that wait may share the outcome."""

    async def main() -> None:
        town = around.town()
        destination = town.destination()
        for each in letters(500):
            destination.add(each)
        for _ in range(5):
            destination.relieve(1.0, town.ways.limits.backlog_least, is_full=False)
        assert town.kinds() == {}
        await stopped(destination)

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": b""}
        run(main)


def test_a_destination_that_carries_keeps_what_it_will_carry_soon(tmp_path: Path) -> None:
    """Ten seconds' worth, by what it did in the last one."""

    async def main() -> None:
        town = around.town(idle=0.01, backlog_least=5)
        destination = town.destination()
        for each in letters(1500):
            destination.add(each)
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=True)
        await town.reported(60)
        done = len(town.reports)
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=True)
        given_back = town.kinds()[None]
        assert given_back <= 1500 - done - 10 * 60 + 10
        await town.reported(1500)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 1500 - given_back, None: given_back}

    with surroundings(tmp_path) as around:
        run(main)


def test_the_bound_goes_when_the_backlog_does(tmp_path: Path) -> None:
    """The exchanger answers again."""

    async def main() -> None:
        town = around.town(idle=0.01, backlog_least=5)
        destination = town.destination()
        for each in letters(20):
            destination.add(each)
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=True)
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=True)
        assert town.kinds() == {None: 15}
        gate.set()
        await town.reported(20)
        destination.relieve(1.0, town.ways.limits.backlog_least, is_full=False)
        for each in letters(40)[20:]:
            destination.add(each)
        await town.reported(40)
        assert town.kinds() == {None: 15, Kind.DELIVERED: 25}
        await left(town, destination)

    gate = threading.Event()

    def greeting(session: Session, line: bytes) -> None:
        gate.wait(LONGEST_SECONDS)

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": greeting}
        run(main)


# The end of the process.


@on_each_loop
def test_an_idle_courier_says_quit_and_ends_at_once(tmp_path: Path, loop: str) -> None:
    """It does not wait for its idle time to be over."""

    async def main() -> None:
        town = around.town(idle=10 * LONGEST_SECONDS)
        destination = town.destination()
        destination.add(letters(1)[0])
        await town.reported(1)
        await stopped(destination)
        await left(town, destination)

    with surroundings(tmp_path) as around:
        run(main, loop)
        assert around.exchangers[0].sessions[0].lines[-1] == b"QUIT"


@on_each_loop
def test_a_stop_closes_the_socket(tmp_path: Path, loop: str) -> None:
    """So that the exchanger is rid of it at once."""

    async def main() -> None:
        mail, closed = asyncio.Event(), asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for reply in (b"220 a\r\n", b"250 a\r\n"):
                writer.write(reply)
                await reader.readline()
            mail.set()
            try:
                await reader.read()
            finally:
                closed.set()

        async with peer(script) as to:
            town = around.town()
            destination = town.destination("a route", Route((str(to.address),), to.port))
            destination.add(letters(1)[0])
            await mail.wait()
            await stopped(destination)
            await closed.wait()

    with surroundings(tmp_path) as around:
        run(main, loop)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@on_each_loop
def test_before_the_final_dot_a_stop_closes(tmp_path: Path, loop: str, verb: str) -> None:
    """Without a report: the process ends, and the message is where it was."""

    async def main() -> None:
        town = around.town()
        destination = town.destination()
        destination.add(letters(1)[0])
        await asyncio.to_thread(heard.wait, LONGEST_SECONDS)
        await stopped(destination)
        assert town.reports == []
        assert destination.is_idle

    heard = threading.Event()

    def silent(session: Session, line: bytes) -> bytes:
        heard.set()
        return b""

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {verb: silent}
        run(main, loop)
        assert around.exchangers[0].messages == []


@on_each_loop
def test_after_the_final_dot_a_stop_waits_for_the_reply(tmp_path: Path, loop: str) -> None:
    """It is reported, and nothing more is begun."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1")
        destination = town.destination()
        for each in letters(3):
            destination.add(each)
        await asyncio.to_thread(around.exchangers[0].wait_for, 1)
        tasks = destination.stop()
        destination.hurry()
        assert town.reports == []
        gate.set()
        await asyncio.wait(tasks)
        assert town.kinds() == {Kind.DELIVERED: 1}
        await left(town, destination)

    gate = threading.Event()
    with surroundings(tmp_path) as around:
        around.exchangers[0].before_final_reply = gate
        run(main, loop)
        assert around.exchangers[0].sessions[0].lines[-1] == b"QUIT"


@pytest.mark.parametrize("turns", range(12))
@on_each_loop
def test_a_final_reply_that_has_just_come_is_not_lost(tmp_path: Path, loop: str, turns: int) -> None:
    """However many turns of the event loop the stop comes after it: the message would be sent twice."""

    async def main() -> None:
        dot = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for reply in (b"220 a\r\n", b"250 a\r\n", b"250 a\r\n", b"250 a\r\n"):
                writer.write(reply)
                await reader.readline()
            writer.write(b"354 a\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 taken\r\n")
            dot.set()
            await reader.read()

        async with peer(script) as to:
            town = around.town()
            destination = town.destination("a route", Route((str(to.address),), to.port))
            destination.add(letters(1)[0])
            await dot.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks = destination.stop()
            destination.hurry()
            if tasks:
                await asyncio.wait(tasks)
            assert town.kinds() == {Kind.DELIVERED: 1}

    with surroundings(tmp_path) as around:
        run(main, loop)


@on_each_loop
def test_a_final_reply_that_does_not_come_in_time_leaves_a_doubt(tmp_path: Path, loop: str) -> None:
    """It is reported as such."""

    async def main() -> None:
        town = around.town()
        destination = town.destination()
        destination.add(letters(1)[0])
        await asyncio.to_thread(around.exchangers[0].wait_for, 1)
        tasks = destination.stop()
        destination.give_up()
        await asyncio.wait(tasks)
        assert town.kinds() == {Kind.IN_DOUBT: 1}

    with surroundings(tmp_path) as around:
        around.exchangers[0].before_final_reply = threading.Event()
        run(main, loop)


# Whatever exchangers do.

SCRIPTS = [
    None,
    b"450 later\r\n",
    b"550 no\r\n",
    b"421 bye\r\n",
    b"garbage\r\n",
    b"250 ok\r\n250 ok\r\n",
    ConnectionAbortedError,
]


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.02, 0.1, 0.3, 0.8]))
@settings(max_examples=15, deadline=None)
def test_every_parcel_is_reported_once_whatever_exchangers_do(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    """And what is reported as delivered is what an exchanger said it took."""

    async def main(around: Surroundings) -> None:
        town = around.town("connections_per_destination = 3", idle=0.005, final=1.0, mail=1.0)
        await carried(town, letters(40))
        assert Counter(each.job.id for each, _, _ in town.reports) == {each.job.id: 1 for each in letters(40)}
        assert town.bugs == []
        taken = [m for e in around.exchangers for m in e.messages if m.reply is not None and m.reply[:1] == b"2"]
        certain = town.kinds()[Kind.DELIVERED]
        assert certain <= len(taken) <= certain + town.kinds()[Kind.IN_DOUBT] + town.kinds()[Kind.DEFERRED]

    with surroundings(tmp_path_factory.mktemp("town"), TWO_EQUAL, FIRST, SECOND) as around:
        for number, exchanger in enumerate(around.exchangers):
            moody(
                exchanger, random.Random(seed + number), share, SCRIPTS, ["CONNECT", "EHLO", *TRANSACTION, "QUIT"]
            )
        run(lambda: main(around))
