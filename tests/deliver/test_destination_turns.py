"""Whose mail a destination carries first, over how many connections, and in how many transactions."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from relayd.base import events
from relayd.base.sections import Limit, Route
from relayd.deliver.courier import Courier
from relayd.deliver.destination import Destination
from relayd.deliver.destinations import Destinations, Refusing
from relayd.deliver.hop import Hop, Reached, Unreached
from relayd.deliver.parcel import Parcel, Via
from relayd.deliver.quotas import Lease
from relayd.deliver.waiting import Waiting
from relayd.spool.outcome import Kind
from tests.deliver.hosted import ZONE, limited, mails, to
from tests.deliver.making import job, parcel
from tests.deliver.running import LONGEST_SECONDS, run, turn
from tests.deliver.town import Surroundings, carried, left, letters, surroundings
from tests.world.session import Session

# Growth.


def test_after_an_outage_one_connection_carries_before_there_are_more(tmp_path: Path) -> None:
    """An exchanger that has just come back is not met by ten at once."""

    async def main() -> None:
        town = around.town(idle=0.01)
        exchanger.stop()
        await carried(town, letters(1))
        exchanger.start()
        destination = town.destination()
        for each in letters(41)[1:]:
            destination.add(structs.replace(each, job=structs.replace(each.job, is_urgent=True)))
        await asyncio.to_thread(exchanger.wait_for, 1)
        await town.noted(events.CircuitClosed, 1)
        await turn()
        assert (destination.connections, len(exchanger.sessions)) == (1, 1)
        gate.set()
        await town.reported(41)
        await left(town, destination)
        assert town.kinds() == {Kind.DEFERRED: 1, Kind.DELIVERED: 40}
        assert len(exchanger.sessions) > 1

    gate = threading.Event()
    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        exchanger.before_final_reply = gate
        run(main)


# Kept connections.


def test_a_connection_is_given_back_when_it_is_old(tmp_path: Path) -> None:
    """However much waits for it."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        town.now = 1000.0

        def later(session: Session, line: bytes) -> None:
            assert town.now is not None
            town.now += 200.0

        around.exchangers[0].replies = {"MAIL": later}
        await carried(town, letters(6))
        assert town.kinds() == {Kind.DELIVERED: 6}

    with surroundings(tmp_path) as around:
        run(main)
        assert [mails(session) for session in around.exchangers[0].sessions] == [2, 2, 2]


class InTheClear(Hop):
    """Its first connections, so many of them, are in the clear after a handshake that failed."""

    so_many = 1

    async def reach(self, *about: Any, **more: Any) -> Reached | Unreached:
        """As always, and say so."""
        reached = await super().reach(*about, **more)
        if isinstance(reached, Reached) and self.so_many > 0:
            self.so_many -= 1
            reached.connection.is_fallback = True
        return reached


def aged(number: int, minutes: int) -> Parcel:
    """A parcel of a message that came so long ago."""
    arrived = datetime.now(UTC) - timedelta(minutes=minutes)
    return parcel(job(message_id=f"{number:017}", arrived=arrived))


def test_only_what_has_waited_for_tls_goes_in_the_clear(tmp_path: Path) -> None:
    """What has just come does not use the connection that was made for older mail."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        waiting = Waiting()
        for each in (aged(1, 10), aged(2, 10), aged(3, 0)):
            waiting.add(each)
        destination = town.destination()
        lease = Lease(town.means.quotas, None, destination, town.ways.clock, 2.0)
        hop = InTheClear("example.net", None, town.ways)
        assert await Courier(waiting, hop, town.means, lease, destination).run() is None
        assert town.kinds() == {Kind.DELIVERED: 3}

    with surroundings(tmp_path) as around:
        run(main)
        assert [mails(session) for session in around.exchangers[0].sessions] == [2, 1]


def test_a_connection_in_the_clear_that_nothing_may_use_is_not_made_again_and_again(tmp_path: Path) -> None:
    """It ends the attempt, for all that waits."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        waiting = Waiting()
        waiting.add(aged(1, 0))
        destination = town.destination()
        lease = Lease(town.means.quotas, None, destination, town.ways.clock, 2.0)
        hop = InTheClear("example.net", None, town.ways)
        hop.so_many = 1000
        ended = await Courier(waiting, hop, town.means, lease, destination).run()
        assert isinstance(ended, Unreached)
        assert ended.answer.is_transient
        assert len(waiting) == 1

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].connections == 1


# Fairness within a destination.


def test_who_sends_little_does_not_wait_behind_who_sends_much(tmp_path: Path) -> None:
    """Reverse-paths take turns."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        destination = town.destination()
        for each in letters(50):
            destination.add(each)
        destination.add(parcel(job(message_id=f"{99:017}", reverse_path="few@example.org")))
        await town.reported(51)
        await left(town, destination)

    with surroundings(tmp_path) as around:
        run(main)
        paths = [message.reverse_path for message in around.exchangers[0].messages]
        place = next(number for number, path in enumerate(paths) if b"few@" in path)
        assert place <= 2


def test_in_a_full_queue_who_sends_little_still_has_a_place(tmp_path: Path) -> None:
    """One of those who sends much is given back instead."""

    async def main() -> None:
        town = around.town()
        destination = town.destination()
        for each in letters(300):
            destination.add(each)
        for _ in range(2):
            destination.relieve(1.0, 100, is_full=True)
        assert len(town.reports) == 200
        few = parcel(job(message_id=f"{999:017}", reverse_path="few@example.org"))
        destination.add(few)
        assert few not in [each for each, _, _ in town.reports]
        assert town.kinds() == {None: 201}
        for task in destination.stop():
            await asyncio.wait([task])

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": b""}
        run(main)


def test_many_destinations_that_carry_nothing_leave_half_of_the_queue(tmp_path: Path) -> None:
    """Each keeps its even share of the other half, one parcel at least."""

    async def main() -> None:
        town = around.town(in_flight=60, patience=0.1)
        destinations = Destinations(town.means)
        for number, domain in enumerate(("a.test", "b.test", "c.test")):
            for each in to(domain, 20, 100 * number):
                destinations[domain].add(each)
        for _ in range(2):
            destinations.look_after(1.0, is_full=True)
        assert town.kinds() == {None: 30}
        over = asyncio.Event()
        over.set()
        await destinations.stop(over)

    with surroundings(tmp_path, ZONE) as around:
        around.exchangers[0].replies = {"CONNECT": b""}
        run(main)


# More recipients than one transaction takes.


@pytest.mark.parametrize("answer", [b"452 4.5.3 too many\r\n", b"552 too many recipients\r\n"])
@pytest.mark.parametrize("pipelining", [True, False])
def test_the_rest_of_too_many_recipients_goes_at_once(tmp_path: Path, answer: bytes, pipelining: bool) -> None:
    """In as many transactions as it takes, on the same connection; each part is reported as it ends."""

    async def main() -> None:
        town = around.town(idle=0.01)
        destination = town.destination()
        destination.add(parcel(job(*(f"user{number}@example.net" for number in range(5)))))
        await town.reported(3)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 3}
        assert [each.recipients for _, found, _ in town.reports for each in found] == [(0, 1), (2, 3), (4,)]
        assert len(town.divided) == 2

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if len(session.recipients) < 2 else answer

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        exchanger.replies = {"RCPT": rcpt}
        if not pipelining:
            exchanger.extensions = ()
        run(main)
        assert exchanger.connections == 1
        assert [len(message.recipients) for message in exchanger.messages] == [2, 2, 1]


def test_the_rest_is_a_message_more_where_a_connection_carries_few(tmp_path: Path) -> None:
    """Then it goes over the next connection, at once."""

    async def main() -> None:
        town = limited(around.town(idle=0.01), mx_example_net=Limit(messages=2))
        destination = town.destination()
        destination.add(parcel(job(*(f"user{number}@example.net" for number in range(5)))))
        await town.reported(3)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 3}

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if len(session.recipients) < 2 else b"452 4.5.3 too many\r\n"

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        exchanger.replies = {"RCPT": rcpt}
        run(main)
        assert [mails(session) for session in exchanger.sessions] == [2, 1]


def test_a_connection_that_ends_after_the_first_part_leaves_the_rest_for_another_one(tmp_path: Path) -> None:
    """Nobody gets two copies, and nobody waits for the next attempt."""

    async def main() -> None:
        town = around.town(idle=0.01)
        destination = town.destination()
        destination.add(parcel(job(*(f"user{number}@example.net" for number in range(4)))))
        await town.reported(2)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 2}

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if len(session.recipients) < 2 else b"452 4.5.3 too many\r\n"

    def mail(session: Session, line: bytes) -> bytes | None:
        return b"421 4.4.2 enough\r\n" if mails(session) > 1 else None

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        exchanger.replies = {"RCPT": rcpt, "MAIL": mail}
        run(main)
        assert [mails(session) for session in exchanger.sessions] == [2, 1]
        assert [len(message.recipients) for message in exchanger.messages] == [2, 2]


def test_the_rest_is_a_message_more_within_a_pace(tmp_path: Path) -> None:
    """An exchanger that takes one recipient at a time is not sent a hundred messages at once."""

    async def main() -> None:
        town = limited(around.town(), mx_example_net=Limit(rate=1 / 60))
        destination = town.destination()
        destination.add(parcel(job("a@example.net", "b@example.net")))
        await town.reported(1)
        while not destination._is_kept_waiting:
            await asyncio.sleep(0)
        assert (destination.connections, destination.is_idle) == (0, False)
        assert destination.stop() == []

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if not session.recipients else b"452 4.5.3 too many\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"RCPT": rcpt}
        run(main)
        assert [len(message.recipients) for message in around.exchangers[0].messages] == [1]


def test_the_rest_that_waits_for_its_slot_stays_when_the_process_ends(tmp_path: Path) -> None:
    """It is nobody's yet, and comes again with the next start; its connection says QUIT."""

    async def main() -> None:
        town = limited(around.town(idle=2 * LONGEST_SECONDS), mx_example_net=Limit(rate=1 / LONGEST_SECONDS))
        destination = town.destination()
        destination.add(parcel(job("a@example.net", "b@example.net")))
        await town.reported(1)
        await turn()
        assert destination.connections == 1
        await asyncio.wait(destination.stop())
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 1}

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if not session.recipients else b"452 4.5.3 too many\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"RCPT": rcpt}
        run(main)
        assert around.exchangers[0].sessions[0].lines[-1] == b"QUIT"


# Where a person decides what may have arrived.


def test_only_of_those_it_took_an_exchanger_may_have_the_mail(tmp_path: Path) -> None:
    """A kill between two parts leaves no doubt about the second, nor about who was refused."""
    promised: list[tuple[int, ...]] = []

    async def promise(parcel: Parcel, via: Via) -> None:
        promised.append(parcel.recipients)

    async def main() -> None:
        town = around.town(idle=0.01)
        town.means = replace(town.means, promise=promise)
        destination = town.destination()
        destination.add(parcel(job(*(f"user{number}@example.net" for number in range(5)))))
        await town.reported(2)
        await left(town, destination)
        assert town.kinds() == {Kind.FAILED: 1, Kind.DELIVERED: 2}

    def rcpt(session: Session, line: bytes) -> bytes | None:
        if b"user1@" in line:
            return b"550 5.1.1 nobody\r\n"
        return None if len(session.recipients) < 2 else b"452 4.5.3 too many\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"RCPT": rcpt}
        run(main)
        assert promised == [(0, 2), (3, 4)]


def test_a_stop_before_the_final_dot_leaves_no_doubt(tmp_path: Path) -> None:
    """That the mail may arrive is written down already, and it cannot any more."""

    async def main() -> None:
        began, never = asyncio.Event(), asyncio.Event()

        async def promise(parcel: Parcel, via: Via) -> None:
            began.set()
            await never.wait()

        town = around.town()
        town.means = replace(town.means, promise=promise)
        destination = town.destination()
        destination.add(letters(1)[0])
        await began.wait()
        await asyncio.wait(destination.stop())
        assert town.kinds() == {Kind.DEFERRED: 1}
        assert town.replies() == ["451 4.4.2 stopped before the end of the mail data"]

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].messages == []


# Routes that carry nothing.


def test_a_route_that_refuses_gives_its_reply_to_what_was_taken_before(tmp_path: Path) -> None:
    """Without a connection; the same name is asked again when it is needed."""

    async def main(around: Surroundings) -> None:
        town = around.town()
        routes = {"gone.test": Route((), error="5.1.2 we have moved")}
        town.means = replace(town.means, ways=replace(town.ways, routes=routes))
        destinations = Destinations(town.means)
        refusing = destinations["route gone.test"]
        assert isinstance(refusing, Refusing)
        refusing.add(to("gone.test", 1)[0])
        assert town.replies() == ["550 5.1.2 we have moved"]
        assert town.kinds() == {Kind.FAILED: 1}
        assert isinstance(destinations["example.net"], Destination)

    with surroundings(tmp_path) as around:
        run(lambda: main(around))
