"""Parcels whose transactions begin along with mail data: one round trip each; none is lost, doubled, confused."""

import asyncio
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from relayd.base.sections import Limit, Route
from relayd.deliver.courier import Courier
from relayd.deliver.exchangers import Candidate
from relayd.deliver.hop import Hop, Reached, Unreached
from relayd.deliver.mail import Mail
from relayd.deliver.parcel import Parcel, Via
from relayd.deliver.quotas import Lease
from relayd.deliver.waiting import Waiting
from relayd.smtp.client import Order
from relayd.spool.errors import SpoolFull
from relayd.spool.job import Job
from relayd.spool.outcome import Kind
from tests.deliver.fake_spool import FakeSpool
from tests.deliver.host import Host
from tests.deliver.hosted import limited
from tests.deliver.making import job, parcel
from tests.deliver.moods import TRANSACTION, moody
from tests.deliver.peer import peer
from tests.deliver.running import on_each_loop, run, turn
from tests.deliver.town import (
    FIRST,
    SECOND,
    TWO_EQUAL,
    Surroundings,
    Town,
    left,
    letters,
    surroundings,
)
from tests.world.session import Session

ONE_CONNECTION = "connections_per_destination = 1"


def to(host: Candidate) -> Route:
    """The way to it."""
    return Route((str(host.address),), host.port)


@dataclass
class Street:
    """A town with one host, and a destination there that opens one connection at a time."""

    town: Town
    host: Host
    at: Candidate

    def __post_init__(self) -> None:
        self.destination = self.town.destination("a route", to(self.at))

    async def carry(self, parcels: Sequence[Parcel]) -> None:
        """Have them carried, all handed over at once, until everybody has left."""
        for each in parcels:
            self.town.spool.mail.setdefault(each.job.id, [data_of(each)])
            self.destination.add(each)
        await self.town.reported(len(parcels))
        await self.gone()

    async def gone(self) -> None:
        """Wait until no courier is under way and no connection is open."""
        while not self.destination.is_idle:
            await asyncio.wait(self.destination._couriers.values())
        if self.town.means.leaving:
            await asyncio.wait(self.town.means.leaving)

    def outcomes(self) -> dict[int, list[Kind]]:
        """By the number of the letter, from 1, what was reported of it."""
        found: dict[int, list[Kind]] = {}
        for reported, outcomes, _ in self.town.reports:
            found.setdefault(int(reported.job.id) + 1, []).extend(each.kind for each in outcomes)
        return found


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the host does."""
    while not condition():
        await asyncio.sleep(0)


def data_of(letter: Parcel) -> bytes:
    """Mail data that no other letter has."""
    return b"Subject: %s\r\n" % letter.job.id.encode()


def all_delivered(count: int) -> dict[int, list[Kind]]:
    """What is reported of so many letters in good weather."""
    return {number: [Kind.DELIVERED] for number in range(1, count + 1)}


def street(
    tmp_path: Path,
    host: Host,
    work: Callable[[Street], Any],
    loop: str = "asyncio",
    *,
    change: Callable[[Town], Town] = lambda town: town,
    **limits: Any,
) -> None:
    """Run the work in a street with this host."""

    async def main() -> None:
        async with peer(host) as at:
            town = around.town(ONE_CONNECTION, **{"idle": 0.01, **limits})
            await work(Street(change(town), host, at))

    with surroundings(tmp_path) as around:
        run(main, loop)


# In good weather.


@on_each_loop
def test_each_parcel_but_the_first_ones_begins_along_with_mail_data(tmp_path: Path, loop: str) -> None:
    """One round trip a message: from the second on, whose predecessor was answered soon, to the last but one."""
    host = Host()

    async def work(street: Street) -> None:
        await street.carry(letters(6))
        assert street.town.kinds() == {Kind.DELIVERED: 6}
        assert street.town.bugs == []
        assert street.destination._waiting.taken == 6

    street(tmp_path, host, work, loop)
    assert (host.mails, host.ahead) == ([6], [2, 3, 4, 5])
    assert host.taken == [data_of(each) for each in letters(6)]
    assert host.lines[-1] == b"QUIT\r\n"


@on_each_loop
def test_each_parcel_gets_its_own_reply(tmp_path: Path, loop: str) -> None:
    """Refused at the dot, at MAIL, at RCPT, with what follows along: the next one goes on."""
    refusals = {(".", 2): b"554 no\r\n", (".", 3): b"451 later\r\n", ("MAIL", 5): b"550 not you\r\n"}
    refusals |= {("RCPT", 7): b"550 nobody\r\n", ("DATA", 9): b"451 busy\r\n"}

    async def says(verb: str, number: int) -> bytes | None:
        return refusals.get((verb, number))

    host = Host(says)

    async def work(street: Street) -> None:
        await street.carry(letters(10))
        assert street.outcomes() == all_delivered(10) | {
            2: [Kind.FAILED],
            3: [Kind.DEFERRED],
            5: [Kind.FAILED],
            7: [Kind.FAILED],
            9: [Kind.DEFERRED],
        }
        assert [str(each.job.id) for each, _, _ in street.town.reports] == [each.job.id for each in letters(10)]

    street(tmp_path, host, work, loop)
    assert host.mails == [10]
    # `ahead` counts the final dots, which 5, 7 and 9 never had.
    assert host.ahead == [2, 3, 4, 5, 6]
    assert host.taken == [
        data_of(each) for number, each in enumerate(letters(10)) if number + 1 in (1, 4, 6, 8, 10)
    ]


@on_each_loop
def test_a_parcel_is_told_of_with_its_own_transcript(tmp_path: Path, loop: str) -> None:
    """A sender must not see to whom another's message went."""

    async def says(verb: str, number: int) -> bytes | None:
        return b"554 no\r\n" if verb == "." else None

    async def work(street: Street) -> None:
        senders = [f"sender{number}@example.org" for number in range(1, 5)]
        parcels = [
            structs.replace(each, job=structs.replace(each.job, envelope=_from(each.job, sender)))
            for each, sender in zip(letters(4), senders, strict=True)
        ]
        await street.carry(parcels)
        for (_, (outcome,), _), sender in zip(street.town.reports, senders, strict=True):
            (dialogue,) = outcome.transcript
            said = [line.partition(" ")[2] for line in dialogue.lines]
            assert said[:2] == ["S 220 host.test", "C EHLO relay.example.org"]
            assert [line for line in said if line.startswith("C MAIL")] == [
                f"C MAIL FROM:<{sender}> BODY=8BITMIME"
            ]
            assert said[-2:] == ["C [mail data and its end]", "S 554 no"]

    host = Host(says)
    street(tmp_path, host, work, loop)
    assert host.ahead == [2, 3]


def _from(of: Job, sender: str) -> Any:
    return structs.replace(of.envelope, reverse_path=sender, body="8BITMIME")


def test_behind_an_exchanger_that_takes_its_time_nothing_goes_along(tmp_path: Path) -> None:
    """The parcel waits for a connection that is free before this one is."""
    host = Host()
    street(tmp_path, host, lambda street: street.carry(letters(5)), quick=0.0)
    assert (host.mails, host.ahead) == ([5], [])


def test_an_exchanger_without_pipelining_gets_nothing_along(tmp_path: Path) -> None:
    """RFC 5321 section 4.3.1."""
    host = Host(extensions=(b"8BITMIME",))
    street(tmp_path, host, lambda street: street.carry(letters(5)))
    assert (host.mails, host.ahead) == ([5], [])


# Mail data of any size.


class Mixed(FakeSpool):
    """Has some of the mail in memory, by the number of the letter."""

    def __init__(self, streamed: Callable[[int], bool]) -> None:
        super().__init__()
        self._streamed = streamed

    def cached(self, job: Job) -> bytes | None:
        """Unless it is to be streamed."""
        return None if self._streamed(int(job.id)) else super().cached(job)


@pytest.mark.parametrize(
    "streamed",
    [lambda number: True, lambda number: number % 2 == 0, lambda number: number % 2 == 1],
    ids=["all streamed", "every first", "every second"],
)
@on_each_loop
def test_what_is_streamed_and_what_is_in_memory_follow_each_other(
    tmp_path: Path, loop: str, streamed: Callable[[int], bool]
) -> None:
    """The commands go ahead all the same; the mail data is read when it is wanted."""
    host = Host()

    def change(town: Town) -> Town:
        town.spool = Mixed(streamed)
        town.means = replace(town.means, mail=Mail(town.spool))
        return town

    async def work(street: Street) -> None:
        await street.carry(letters(6))
        assert street.town.kinds() == {Kind.DELIVERED: 6}

    street(tmp_path, host, work, loop, change=change)
    assert (host.mails, host.ahead) == ([6], [2, 3, 4, 5])
    assert host.taken == [data_of(each) for each in letters(6)]


@pytest.mark.parametrize("in_memory", [True, False])
@on_each_loop
def test_large_mail_data_goes_whole_while_the_next_commands_wait_behind_it(
    tmp_path: Path, loop: str, in_memory: bool
) -> None:
    """The socket is full for most of the time."""
    chunks = [b"%07d\r\n" % number * 100_000 for number in range(4)]

    async def main() -> None:
        town = around.town(ONE_CONNECTION, idle=0.01)
        town.spool.keeps_in_memory = in_memory
        destination = town.destination()
        for each in letters(4):
            town.spool.mail[each.job.id] = chunks
            destination.add(each)
        await town.reported(4)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 4}

    with surroundings(tmp_path) as around:
        run(main, loop)
        (exchanger,) = around.exchangers
        assert [message.data for message in exchanger.messages] == [b"".join(chunks)] * 4
        assert exchanger.connections == 1


# A connection that is lost.


@dataclass(frozen=True)
class Loss:
    """What the host says at the second message's final dot, None for hanging up, and what becomes of that."""

    says: bytes | None
    second: Kind
    taken: int


LOSSES = {
    "hangs up": Loss(None, Kind.IN_DOUBT, 3),
    "421": Loss(b"421 enough\r\n", Kind.DEFERRED, 3),
    "taken, and 421": Loss(b"250 ok\r\n421 enough\r\n", Kind.DELIVERED, 4),
    "taken, and then nothing but nonsense": Loss(b"250 ok\r\nwhat\r\n", Kind.DELIVERED, 4),
    "refused, and 421": Loss(b"554 no\r\n421 enough\r\n", Kind.FAILED, 3),
    "the first half of MAIL was dropped": Loss(b"250 ok\r\n500 what?\r\n", Kind.DELIVERED, 4),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@on_each_loop
def test_what_went_along_and_was_not_answered_goes_over_another_connection(
    tmp_path: Path, loop: str, loss: Loss
) -> None:
    """Once, as if it had not gone before; and the exchanger gets nothing ahead from then on."""

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) != (".", 2):
            return None
        if loss.says is None:
            raise ConnectionAbortedError("at the dot")
        return loss.says

    host = Host(says)

    async def work(street: Street) -> None:
        await street.carry(letters(5))
        assert street.outcomes() == all_delivered(5) | {2: [loss.second]}
        assert street.destination._waiting.taken == 5
        assert street.town.bugs == []

    street(tmp_path, host, work, loop)
    assert len(host.mails) == 2
    assert host.ahead == [2]
    others = [data for data in host.taken if data != data_of(letters(2)[1])]
    assert others == [data_of(each) for number, each in enumerate(letters(5)) if number != 1]
    assert all(b"MAIL" not in data for data in host.taken)


def bytewise(listener: socket.socket, messages: Sequence[int]) -> None:
    """Be an exchanger that reads no octet early, and closes after so many messages of each connection."""

    def read(connection: socket.socket, end: bytes) -> None:
        octets = b""
        while not octets.endswith(end):
            octet = connection.recv(1)
            assert octet, octets
            octets += octet

    for count in messages:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 host.test\r\n")
            read(connection, b"\r\n")
            connection.sendall(b"250-host.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            for _ in range(count):
                read(connection, b"DATA\r\n")
                connection.sendall(b"250 ok\r\n250 ok\r\n354 go on\r\n")
                read(connection, b"\r\n.\r\n")
                connection.sendall(b"250 taken\r\n")


@on_each_loop
def test_a_final_reply_is_heard_though_the_exchanger_resets_the_connection(tmp_path: Path, loop: str) -> None:
    """What it has not read when it closes makes its kernel say RST, and the reply came before that."""

    async def main() -> None:
        town = around.town(ONE_CONNECTION, idle=0.01)
        address, port = listener.getsockname()
        destination = town.destination("a route", Route((address,), port))
        for each in letters(4):
            destination.add(each)
        await town.reported(4)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 4}

    with surroundings(tmp_path) as around, socket.create_server(("127.0.0.1", 0)) as listener:
        exchanger = threading.Thread(target=bytewise, args=(listener, (2, 2)))
        exchanger.start()
        run(main, loop)
        exchanger.join()


def test_an_exchanger_is_alone_for_all_destinations_and_for_a_day(tmp_path: Path) -> None:
    """A destination is forgotten as soon as it has nothing to do, and would find out again and again."""
    dots = 0

    async def says(verb: str, number: int) -> bytes | None:
        nonlocal dots
        dots += verb == "."
        if verb == "." and dots == 2:
            raise ConnectionAbortedError("at the dot")
        return None

    host = Host(says)

    async def work(street: Street) -> None:
        town = street.town
        town.now = 1000.0
        await street.carry(letters(4))
        assert host.ahead == [2]
        for passed, expected in ((80_000.0, []), (10_000.0, [2, 3])):
            town.now += passed
            host.along.clear()
            another = Street(town, host, street.at)
            town.reports.clear()
            await another.carry(letters(4))
            assert town.kinds() == {Kind.DELIVERED: 4}
            assert host.ahead == expected

    street(tmp_path, host, work)


@on_each_loop
def test_what_was_answered_and_then_lost_has_had_its_attempt(tmp_path: Path, loop: str) -> None:
    """As without anything ahead; the exchanger answers what goes along."""

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) == ("RCPT", 3):
            raise ConnectionAbortedError("at RCPT")
        return None

    host = Host(says)

    async def work(street: Street) -> None:
        await street.carry(letters(6))
        assert street.outcomes() == all_delivered(6) | {3: [Kind.DEFERRED]}

    street(tmp_path, host, work, loop)
    assert len(host.mails) == 2
    # The third has no final dot: 3, 4 and 5 are the dots of the fourth, the fifth and the sixth.
    assert host.ahead == [2, 4]


def test_who_does_not_answer_what_goes_along_is_waited_for_as_for_mail(tmp_path: Path) -> None:
    """An exchanger that drops what comes with mail data; the parcel goes again after that, and alone."""

    async def says(verb: str, number: int) -> bytes | None:
        return b"" if number == 3 else None

    host = Host(says)

    async def work(street: Street) -> None:
        await street.carry(letters(4))
        assert street.town.kinds() == {Kind.DELIVERED: 4}

    street(tmp_path, host, work, mail=0.05)
    assert host.mails == [3, 2]
    assert host.ahead == [2]


# Too many recipients.


@on_each_loop
def test_the_rest_of_too_many_goes_all_the_same(tmp_path: Path, loop: str) -> None:
    """Behind what has gone ahead; everybody gets one copy."""

    async def main() -> None:
        town = around.town(ONE_CONNECTION, idle=0.01)
        destination = town.destination()
        crowd = [f"user{number}@example.net" for number in range(5)]
        first, second, third, fourth = letters(4)
        second = parcel(job(*crowd, message_id=second.job.id))
        for each in (first, second, third, fourth):
            destination.add(each)
        await town.reported(6)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 6}
        assert town.divided[0] == second
        got = [
            each.recipients for reported, found, _ in town.reports for each in found if reported.job == second.job
        ]
        assert got == [(0, 1), (2, 3), (4,)]

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if len(session.recipients) < 2 else b"452 4.5.3 too many\r\n"

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        exchanger.replies = {"RCPT": rcpt}
        run(main, loop)
        assert exchanger.connections == 1
        heard = Counter(line for message in exchanger.messages for line in message.recipients)
        assert heard == {b"RCPT TO:<bob@example.net>": 3} | {
            b"RCPT TO:<user%d@example.net>" % n: 1 for n in range(5)
        }
        # The third letter had begun when the second one turned out to be too much.
        assert [len(message.recipients) for message in exchanger.messages][:3] == [1, 2, 1]


def test_a_rest_that_finds_the_connection_gone_says_nothing_of_what_goes_along(tmp_path: Path) -> None:
    """It began when all before it was answered."""

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) == ("MAIL", 4):
            return b"421 4.4.2 enough\r\n"
        is_second = verb == "RCPT" and host.lines[-2].startswith(b"RCPT")
        return b"452 4.5.3 too many\r\n" if is_second else None

    host = Host(says)

    async def work(street: Street) -> None:
        crowd = parcel(job("a@example.net", "b@example.net", message_id=letters(3)[2].job.id))
        await street.carry([*letters(2), crowd])
        assert street.outcomes() == all_delivered(2) | {3: [Kind.DELIVERED, Kind.DELIVERED]}
        assert (host.mails, host.ahead) == ([4, 1], [2])
        street.town.reports.clear()
        host.along.clear()
        await Street(street.town, host, street.at).carry(letters(4))
        assert host.ahead == [2, 3]

    street(tmp_path, host, work)


# Limits.


@pytest.mark.parametrize(
    ("limits", "messages"), [({"transactions": 3}, None), ({}, 3)], ids=["transactions", "messages"]
)
@on_each_loop
def test_a_connection_carries_so_many_and_what_goes_ahead_counts(
    tmp_path: Path, loop: str, limits: dict[str, int], messages: int | None
) -> None:
    """Exactly."""
    host = Host()

    def change(town: Town) -> Town:
        return limited(town, **{"127_0_0_1": Limit(messages=messages)}) if messages else town

    async def work(street: Street) -> None:
        await street.carry(letters(8))
        assert street.town.kinds() == {Kind.DELIVERED: 8}

    street(tmp_path, host, work, loop, change=change, **limits)
    assert (host.mails, host.ahead) == ([3, 3, 2], [2, 5])


def test_a_connection_that_is_old_takes_nothing_along(tmp_path: Path) -> None:
    """It is given back after the message under way."""

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) == ("DATA", 2):
            assert town is not None
            town.now = 1300.0
        return None

    host = Host(says)
    town: Town | None = None

    async def work(street: Street) -> None:
        nonlocal town
        town = street.town
        town.now = 1000.0
        await street.carry(letters(4))
        assert town.kinds() == {Kind.DELIVERED: 4}

    street(tmp_path, host, work, age=300.0)
    assert (host.mails, host.ahead) == ([2, 2], [])


# Where it goes and how.


class Elsewhere(Hop):
    """Would choose another exchanger when it is asked for the third time, and says so once."""

    asked = 0

    def kept(self, reached: Reached) -> Reached | None:
        """Not the third time."""
        self.asked += 1
        return None if self.asked == 3 else super().kept(reached)


class InTheClear(Hop):
    """Its connections are those that a failed handshake leaves."""

    async def reach(self, *arguments: Any, **more: Any) -> Reached | Unreached:
        """The same."""
        reached = await super().reach(*arguments, **more)
        assert isinstance(reached, Reached)
        reached.connection.is_fallback = True
        return reached


async def couriered(street: Street, hop: Hop, parcels: Sequence[Parcel]) -> None:
    """Have one courier carry the parcels by this hop."""
    waiting = Waiting()
    for each in parcels:
        waiting.add(each)
    lease = Lease(street.town.means.quotas, None, street.destination, street.town.ways.clock, 2.0)
    assert await Courier(waiting, hop, street.town.means, lease, street.destination).run() is None
    assert street.town.kinds() == {Kind.DELIVERED: len(parcels)}


@on_each_loop
def test_when_another_exchanger_is_better_the_connection_ends_after_what_is_under_way(
    tmp_path: Path, loop: str
) -> None:
    """Although it would be kept if it were asked again."""
    host = Host()

    async def work(street: Street) -> None:
        await couriered(street, Elsewhere("a route", to(street.at), street.town.ways), letters(6))

    street(tmp_path, host, work, loop)
    # Asked before the second, at the second's dot, at the third's.
    assert (host.mails, host.ahead) == ([3, 3], [2, 5])


def test_in_the_clear_after_a_failed_handshake_nothing_goes_along(tmp_path: Path) -> None:
    """Each parcel is judged when its turn comes: only what has waited goes there."""
    host = Host()
    old = datetime.now(UTC) - timedelta(minutes=10)

    async def work(street: Street) -> None:
        parcels = [parcel(job(message_id=f"{number:017}", arrived=old)) for number in range(4)]
        await couriered(street, InTheClear("a route", to(street.at), street.town.ways), parcels)

    street(tmp_path, host, work)
    assert (host.mails, host.ahead) == ([4], [])


def test_within_a_pace_nothing_goes_along(tmp_path: Path) -> None:
    """Each message has its slot, which may have to be waited for."""
    host = Host()
    street(
        tmp_path,
        host,
        lambda street: street.carry(letters(5)),
        change=lambda town: limited(town, **{"127_0_0_1": Limit(rate=1000)}),
    )
    assert (host.mails, host.ahead) == ([5], [])


def test_where_a_promise_is_written_down_nothing_goes_along(tmp_path: Path) -> None:
    """The mail data waits for the disk, and the exchanger would wait with it."""
    host = Host()
    promised: list[Parcel] = []

    async def promise(parcel: Parcel, via: Via) -> None:
        promised.append(parcel)

    def change(town: Town) -> Town:
        town.means = replace(town.means, promise=promise)
        return town

    street(tmp_path, host, lambda street: street.carry(letters(5)), change=change)
    assert (host.mails, host.ahead, len(promised)) == ([5], [], 5)


def test_while_the_spool_is_behind_nothing_goes_along(tmp_path: Path) -> None:
    """A kill would send again what is taken and not recorded."""
    town: Town | None = None

    async def says(verb: str, number: int) -> bytes | None:
        assert town is not None
        if (verb, number) == ("DATA", 3):
            town.is_near.clear()
        elif (verb, number) == (".", 3):
            asyncio.get_running_loop().call_soon(town.is_near.set)
        return None

    host = Host(says)

    async def work(street: Street) -> None:
        nonlocal town
        town = street.town
        await street.carry(letters(6))
        assert town.kinds() == {Kind.DELIVERED: 6}

    street(tmp_path, host, work)
    assert (host.mails, host.ahead) == ([6], [2, 4, 5])


def test_mail_with_needs_does_not_go_along(tmp_path: Path) -> None:
    """It is read first, to see whether it has what the exchanger cannot take."""
    host = Host(extensions=(b"PIPELINING", b"8BITMIME"))

    async def work(street: Street) -> None:
        parcels = letters(5)
        wide = structs.replace(parcels[2].job.envelope, smtputf8=True)
        parcels[2] = structs.replace(parcels[2], job=structs.replace(parcels[2].job, envelope=wide))
        await street.carry(parcels)
        assert street.town.kinds() == {Kind.DELIVERED: 5}

    street(tmp_path, host, work)
    assert (host.mails, host.ahead) == ([5], [3, 4])


# What is wrong with the next one is nothing to the one before.


def test_what_is_no_order_is_told_in_its_turn(tmp_path: Path) -> None:
    """Somebody has edited its file."""
    host = Host()

    async def work(street: Street) -> None:
        parcels = letters(5)
        parcels[2] = parcel(job("two words@example.net", message_id=parcels[2].job.id))
        await street.carry(parcels)
        assert street.outcomes() == all_delivered(5) | {3: [Kind.FAILED]}

    street(tmp_path, host, work)
    assert (host.mails, host.ahead) == ([4], [3])


@pytest.mark.parametrize("trouble", [SpoolFull("disk full"), ZeroDivisionError("a bug")])
@pytest.mark.parametrize("lasts", [True, False])
@on_each_loop
def test_what_cannot_be_written_down_does_not_go_along(
    tmp_path: Path, loop: str, lasts: bool, trouble: Exception
) -> None:
    """The message under way has arrived, and is reported so."""
    town: Town | None = None

    async def says(verb: str, number: int) -> bytes | None:
        assert town is not None
        if (verb, number) == ("DATA", 2):
            town.spool.unreserved = trouble
        elif (verb, number) == (".", 2) and not lasts:
            town.spool.unreserved = None
        return None

    host = Host(says)

    async def work(street: Street) -> None:
        nonlocal town
        town = street.town
        await street.carry(letters(4))
        rest = Kind.DELIVERED if not lasts else Kind.DEFERRED
        untried = lasts and isinstance(trouble, SpoolFull)
        assert street.outcomes() == {
            1: [Kind.DELIVERED],
            2: [Kind.DELIVERED],
            3: [] if untried else [rest],
            4: [] if untried else [rest],
        }
        assert {type(each) for each in town.bugs} == ({type(trouble)} - {SpoolFull})

    street(tmp_path, host, work, loop)
    assert host.ahead == ([] if lasts else [3])


class Odd(Parcel, frozen=True):
    """A parcel with a defect: its order has a forward-path more than it has recipients."""

    @property
    def order(self) -> Order:
        """See the class."""
        order = super().order
        return structs.replace(order, forward_paths=(*order.forward_paths, "nobody@example.net"))


@pytest.mark.parametrize("at_once", [False, True], ids=["reply by reply", "all replies at once"])
@on_each_loop
def test_a_bug_in_what_comes_of_one_loses_no_other(tmp_path: Path, loop: str, at_once: bool) -> None:
    """Each is reported once; of what had gone ahead nothing is sent that nobody would hear of."""
    town: Town | None = None

    def bugs() -> list[Exception]:
        assert town is not None
        return town.bugs

    async def says(verb: str, number: int) -> bytes | None:
        if not at_once and (verb, number) == ("MAIL", 3):
            await until(bugs)
        return None

    host = Host(says, at_once=at_once)

    async def work(street: Street) -> None:
        nonlocal town
        town = street.town
        parcels = letters(5)
        parcels[1] = Odd(parcels[1].job, parcels[1].destination, parcels[1].recipients)
        await street.carry(parcels)
        found = street.outcomes()
        assert {number: len(kinds) for number, kinds in found.items()} == dict.fromkeys(range(1, 6), 1)
        assert (found[1], found[2]) == ([Kind.DELIVERED], [Kind.DEFERRED])
        assert found[4] == found[5] == [Kind.DELIVERED]
        assert found[3] == ([Kind.IN_DOUBT] if at_once else [Kind.DELIVERED])
        assert [type(each) for each in bugs()] == [IndexError]
        assert street.destination._waiting.taken == 5

    street(tmp_path, host, work, loop)
    assert host.taken.count(data_of(letters(3)[2])) == 1


# The end of the process.


@pytest.mark.parametrize("at_once", [False, True], ids=["reply by reply", "all replies at once"])
@on_each_loop
def test_a_stop_hears_the_final_reply_and_begins_nothing(tmp_path: Path, loop: str, at_once: bool) -> None:
    """What had gone ahead gets no mail data, though the exchanger asks for it; nobody waits for anything."""
    go = asyncio.Event()

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) == (".", 2):
            await go.wait()
        return None

    host = Host(says, at_once=at_once)

    async def work(street: Street) -> None:
        for each in letters(4):
            street.town.spool.mail[each.job.id] = [data_of(each)]
            street.destination.add(each)
        await until(lambda: len(host.along) == 2)
        tasks = street.destination.stop()
        street.destination.hurry()
        await turn()
        assert len(street.town.reports) == 1
        go.set()
        await asyncio.wait(tasks)
        assert street.outcomes() == {1: [Kind.DELIVERED], 2: [Kind.DELIVERED]}
        assert street.town.bugs == []
        await street.gone()

    street(tmp_path, host, work, loop)
    assert host.ahead == [2]
    assert host.taken == [data_of(each) for each in letters(2)]


@on_each_loop
def test_a_stop_that_ends_before_the_final_reply_leaves_one_doubt(tmp_path: Path, loop: str) -> None:
    """About the message whose mail data went, and not about the next one."""
    never = asyncio.Event()

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) == (".", 2):
            await never.wait()
        return None

    host = Host(says)

    async def work(street: Street) -> None:
        for each in letters(4):
            street.destination.add(each)
        await until(lambda: len(host.along) == 2)
        tasks = street.destination.stop()
        street.destination.hurry()
        street.destination.give_up()
        await asyncio.wait(tasks)
        assert street.outcomes() == {1: [Kind.DELIVERED], 2: [Kind.IN_DOUBT]}

    street(tmp_path, host, work, loop)
    assert host.ahead == [2]


@on_each_loop
def test_a_stop_does_not_begin_the_rest_of_too_many(tmp_path: Path, loop: str) -> None:
    """It is nobody's yet, and comes again with the next start."""
    go = asyncio.Event()

    async def says(verb: str, number: int) -> bytes | None:
        if verb == ".":
            await go.wait()
        is_second = verb == "RCPT" and host.lines[-2].startswith(b"RCPT")
        return b"452 4.5.3 too many\r\n" if is_second else None

    host = Host(says)

    async def work(street: Street) -> None:
        street.destination.add(parcel(job("a@example.net", "b@example.net")))
        await until(lambda: host.along)
        tasks = street.destination.stop()
        go.set()
        await asyncio.wait(tasks)
        await street.gone()
        assert [each.recipients for _, found, _ in street.town.reports for each in found] == [(0,)]

    street(tmp_path, host, work, loop)
    assert host.mails == [1]


@pytest.mark.parametrize("at_once", [False, True], ids=["reply by reply", "all replies at once"])
@pytest.mark.parametrize("turns", range(12))
@on_each_loop
def test_whenever_a_stop_comes_what_was_taken_is_reported(
    tmp_path: Path, loop: str, turns: int, at_once: bool
) -> None:
    """However many turns of the event loop after the 354: the mail data has gone, or it has not."""
    wanted = asyncio.Event()

    async def says(verb: str, number: int) -> bytes | None:
        if (verb, number) == ("DATA", 3):
            wanted.set()
        return None

    host = Host(says, at_once=at_once)

    async def work(street: Street) -> None:
        for each in letters(6):
            street.town.spool.mail[each.job.id] = [data_of(each)]
            street.destination.add(each)
        await wanted.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks = street.destination.stop()
        street.destination.hurry()
        if tasks:
            await asyncio.wait(tasks)
        assert street.town.kinds() == {Kind.DELIVERED: len(host.taken)}
        assert [data_of(each) for each, _, _ in street.town.reports] == host.taken
        assert street.town.bugs == []

    street(tmp_path, host, work, loop)


# Whatever exchangers do.

SCRIPTS = [
    b"450 later\r\n",
    b"550 no\r\n",
    b"503 what?\r\n",
    b"421 bye\r\n",
    b"garbage\r\n",
    b"250 ok\r\n250 ok\r\n",
    None,
]


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=15, deadline=None)
def test_no_mail_data_goes_twice_whatever_exchangers_do(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    """What was sent to its end is reported; what is reported as delivered was taken, and it was that message."""

    async def main(around: Surroundings) -> None:
        town = around.town("connections_per_destination = 3", idle=0.005, final=1.0, mail=1.0, alone=0.0)
        destination = town.destination()
        parcels = letters(60)
        for each in parcels:
            town.spool.mail[each.job.id] = [data_of(each)]
            destination.add(each)
        await town.reported(len(parcels))
        await left(town, destination)
        assert Counter(each.job.id for each, _, _ in town.reports) == {each.job.id: 1 for each in parcels}
        assert town.bugs == []
        messages = [message for each in around.exchangers for message in each.messages]
        assert max(Counter(message.data for message in messages).values(), default=0) <= 1
        taken = {message.data for message in messages if message.reply is not None and message.reply[:1] == b"2"}
        for reported, outcomes, _ in town.reports:
            if outcomes[0].kind is Kind.DELIVERED:
                assert data_of(reported) in taken
            elif outcomes[0].kind is Kind.FAILED:
                assert data_of(reported) not in taken

    with surroundings(tmp_path_factory.mktemp("town"), TWO_EQUAL, FIRST, SECOND) as around:
        for number, exchanger in enumerate(around.exchangers):
            moody(exchanger, random.Random(seed + number), share, SCRIPTS, [*TRANSACTION, "QUIT"])
        run(lambda: main(around))
