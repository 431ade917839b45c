"""A destination within limits: the places that exchangers have for all domains together, and paces."""

import asyncio
import random
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from relayd.base.sections import Limit
from relayd.deliver.places import Places
from relayd.spool.outcome import Kind
from tests.deliver.hosted import HOSTED, ZONE, Open, all_left, domains, limited, mails, to
from tests.deliver.making import job, parcel
from tests.deliver.moods import TRANSACTION, moody
from tests.deliver.running import LONGEST_SECONDS, on_each_loop, run, turn
from tests.deliver.town import FIRST, ONE, SECOND, Surroundings, left, surroundings

# Places.


@on_each_loop
def test_domains_at_one_exchanger_share_its_connections_and_take_turns(tmp_path: Path, loop: str) -> None:
    """Never more than it bears, and a backlog of one does not starve the others."""

    async def main() -> None:
        town = limited(around.town(idle=0.01), mx_example_net=Limit(connections=1))
        first, second, third = (town.destination(name) for name in ("a.test", "b.test", "c.test"))
        for each in to("a.test", 100):
            first.add(each)
        await town.reported(1)
        second.add(to("b.test", 1, 100)[0])
        for each in to("c.test", 30, 200):
            third.add(each)
        await town.reported(131)
        await all_left(town, (first, second, third))
        assert town.kinds() == {Kind.DELIVERED: 131}

    with surroundings(tmp_path, ZONE) as around:
        (exchanger,) = around.exchangers
        seen = Open(exchanger)
        run(main, loop)
        assert seen.most == 1
        came = domains(exchanger)
        assert came.index("b.test") < 60
        # Ten of each at a time, as long as another waits.
        assert came.index("c.test") < 60
        assert came[came.index("c.test") :].count("a.test") > 10


@pytest.mark.parametrize(("most", "name"), [(3, "mx.example.net"), (2, "a.test")])
def test_no_more_connections_are_open_than_are_allowed(tmp_path: Path, most: int, name: str) -> None:
    """By the name of the exchanger or of the domain; those that are allowed are used."""

    async def main() -> None:
        town = around.town(f'[delivery.limits."{name}"]\nconnections = {most}', idle=0.01)
        destination = town.destination("a.test")
        for each in to("a.test", 40):
            destination.add(each)
        await asyncio.to_thread(exchanger.wait_for, most)
        await turn()
        gate.set()
        await town.reported(40)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 40}

    gate = threading.Event()
    with surroundings(tmp_path, ZONE) as around:
        (exchanger,) = around.exchangers
        exchanger.before_final_reply = gate
        seen = Open(exchanger)
        run(main)
        assert seen.most == most


@pytest.mark.parametrize("name", ["mx.example.net", "a.test"])
def test_a_connection_that_says_quit_counts_until_it_is_gone(tmp_path: Path, name: str) -> None:
    """The exchanger counts it too, by the name of which of the two it may be."""

    async def main() -> None:
        town = around.town(f'[delivery.limits."{name}"]\nmessages = 1\nconnections = 1', idle=0.01)
        destination = town.destination("a.test")
        for each in to("a.test", 5):
            destination.add(each)
        await town.reported(5)
        await left(town, destination)
        assert town.kinds() == {Kind.DELIVERED: 5}

    with surroundings(tmp_path, ZONE) as around:
        seen = Open(around.exchangers[0], slow_seconds=0.03)
        run(main)
        assert seen.most == 1


@pytest.mark.parametrize("name", ["mx.example.net", "a.test"])
def test_a_connection_carries_no_more_messages_than_are_allowed(tmp_path: Path, name: str) -> None:
    """By the name of the exchanger or of the domain."""

    async def main() -> None:
        town = around.town(f'connections_per_destination = 1\n[delivery.limits."{name}"]\nmessages = 3', idle=0.01)
        destination = town.destination("a.test")
        for each in to("a.test", 8):
            destination.add(each)
        await town.reported(8)
        await left(town, destination)

    with surroundings(tmp_path, ZONE) as around:
        run(main)
        assert [mails(session) for session in around.exchangers[0].sessions] == [3, 3, 2]


def test_a_domain_that_has_all_places_keeps_its_connections(tmp_path: Path) -> None:
    """It would have more of them, but nobody else is waiting."""

    async def main() -> None:
        town = limited(around.town(idle=0.01), mx_example_net=Limit(connections=2))
        destination = town.destination("a.test")
        for each in to("a.test", 80):
            destination.add(each)
        await town.reported(80)
        await left(town, destination)

    with surroundings(tmp_path, ZONE) as around:
        run(main)
        assert around.exchangers[0].connections == 2


def test_an_idle_connection_makes_way_for_another_domain(tmp_path: Path) -> None:
    """It does not keep the place until its time is up."""

    async def main() -> None:
        town = limited(around.town(idle=10 * LONGEST_SECONDS), mx_example_net=Limit(connections=1))
        first, second = town.destination("a.test"), town.destination("b.test")
        first.add(to("a.test", 1)[0])
        await town.reported(1)
        await turn()
        assert first.connections == 1
        second.add(to("b.test", 1, 10)[0])
        await town.reported(2)
        assert first.is_idle
        for task in second.stop():
            await task
        await left(town, second)

    with surroundings(tmp_path, ZONE) as around:
        seen = Open(around.exchangers[0])
        run(main)
        assert seen.most == 1


def test_who_stands_in_line_when_the_process_ends_does_not_hold_it_up(tmp_path: Path) -> None:
    """It is not invited any more."""

    async def main() -> None:
        town = limited(around.town(), mx_example_net=Limit(connections=1))
        first, second = town.destination("a.test"), town.destination("b.test")
        first.add(to("a.test", 1)[0])
        await asyncio.to_thread(exchanger.wait_for, 1)
        second.add(to("b.test", 1, 10)[0])
        while not second._is_kept_waiting:
            await asyncio.sleep(0)
        tasks = first.stop() + second.stop()
        gate.set()
        await asyncio.wait(tasks)
        await all_left(town, (first, second))
        assert town.kinds() == {Kind.DELIVERED: 1}

    gate = threading.Event()
    with surroundings(tmp_path, ZONE) as around:
        (exchanger,) = around.exchangers
        exchanger.before_final_reply = gate
        run(main)


def test_when_all_places_of_the_process_are_taken_connections_take_turns(tmp_path: Path) -> None:
    """A backlog at one destination leaves others their share of the descriptors too."""

    async def main() -> None:
        town = around.town(idle=LONGEST_SECONDS)
        town.means = replace(town.means, ways=replace(town.ways, places=Places(1)))
        first, second = town.destination("a.test"), town.destination("b.test")
        for each in to("a.test", 100):
            first.add(each)
        await town.reported(1)
        second.add(to("b.test", 1, 100)[0])
        await town.reported(101)
        await all_left(town, (first, second))

    with surroundings(tmp_path, ZONE) as around:
        run(main)
        assert domains(around.exchangers[0]).index("b.test") < 60


# Paces.


@pytest.mark.parametrize("idle", [0.001, 2.0])
@pytest.mark.parametrize("name", ["mx_example_net", "a_test"])
@on_each_loop
def test_all_that_waits_for_its_slot_is_carried_in_the_end(
    tmp_path: Path, name: str, loop: str, idle: float
) -> None:
    """With a connection that is kept meanwhile, and without one where the slot is too far away for that."""

    async def main() -> None:
        town = limited(around.town(idle=idle), **{name: Limit(rate=50.0)})
        destination = town.destination("a.test")
        for each in to("a.test", 56):
            destination.add(each)
        await town.reported(56)
        for task in destination.stop():
            await task
        assert town.kinds() == {Kind.DELIVERED: 56}
        assert town.postponed == []

    with surroundings(tmp_path, ZONE) as around:
        run(main, loop)


def test_an_exchanger_that_hangs_up_at_mail_has_its_attempts_within_a_pace_too(tmp_path: Path) -> None:
    """That there was a wait before each is no excuse: else it would have us for ever."""

    async def main() -> None:
        town = limited(around.town("connections_per_destination = 1", growth=0.0), a_test=Limit(rate=20.0))
        destination = town.destination("a.test")
        for each in to("a.test", 26):
            destination.add(each)
        await town.reported(26)
        await left(town, destination)
        assert town.kinds() == {Kind.DEFERRED: 26}

    with surroundings(tmp_path, ZONE) as around:
        around.exchangers[0].drop_after = "MAIL"
        run(main)


def test_what_waits_for_its_slot_holds_no_connection_and_nobody_else(tmp_path: Path) -> None:
    """The next one goes in a minute; another domain's mail goes now."""

    async def main() -> None:
        town = limited(around.town("connections_per_destination = 1", idle=0.01), a_test=Limit(rate=1 / 60))
        first, second = town.destination("a.test"), town.destination("b.test")
        for each in to("a.test", 2):
            first.add(each)
        await town.reported(1)
        while not first._is_kept_waiting:
            await asyncio.sleep(0)
        assert (first.connections, first.is_idle) == (0, False)
        for each in to("b.test", 5, 10):
            second.add(each)
        await town.reported(6)
        await left(town, second)
        assert town.kinds() == {Kind.DELIVERED: 6}
        assert first.stop() == []

    with surroundings(tmp_path, ZONE) as around:
        run(main)
        assert domains(around.exchangers[0]) == ["a.test"] + 5 * ["b.test"]


def test_what_is_beyond_the_near_slots_comes_again_for_its_own(tmp_path: Path) -> None:
    """It takes no room in the queue meanwhile, and comes in its order."""

    async def main() -> None:
        town = limited(around.town(), a_test=Limit(rate=1 / 60))
        destination = town.destination("a.test")
        for each in to("a.test", 6):
            destination.add(each)
        assert [int(each.job.id) for each, _ in town.postponed] == [2, 3, 4, 5]
        waits = [(due - datetime.now(UTC)).total_seconds() for _, due in town.postponed]
        assert all(abs(wait - expected) < 30 for wait, expected in zip(waits, (70, 130, 190, 250), strict=True))
        urgent = to("a.test", 1, 50)[0]
        destination.add(structs.replace(urgent, job=structs.replace(urgent.job, is_urgent=True)))
        earlier = job("bob@a.test", message_id=f"{60:017}", arrived=datetime.now(UTC) - timedelta(minutes=5))
        destination.add(parcel(earlier))
        assert len(town.postponed) == 4, "a person wants the one, and the other has come for its slot"
        for task in destination.stop():
            await asyncio.wait([task])

    with surroundings(tmp_path, ZONE) as around:
        run(main)


# Whatever exchangers do.

MOODS = (b"450 later\r\n", b"452 4.5.3 too many\r\n", b"421 bye\r\n", b"garbage\r\n", ConnectionAbortedError)
TWO = HOSTED + HOSTED.replace("mx.", "mx2.") + ONE + "mx2.example.net. 60 IN A 127.0.0.3\n"


@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.0, 0.05, 0.3]),
    limit=st.builds(
        Limit, st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 3]), st.sampled_from([None, 200.0])
    ),
)
@settings(max_examples=12, deadline=None)
def test_within_limits_nothing_is_left_behind_whatever_exchangers_do(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float, limit: Limit
) -> None:
    """Every parcel is reported as often as it was divided, and no place is lost."""

    async def main(around: Surroundings) -> None:
        town = limited(
            around.town(idle=0.005, growth=0.0), mx_example_net=limit, mx2_example_net=limit, a_test=limit
        )
        names = ("a.test", "b.test", "c.test")
        destinations = [town.destination(name) for name in names]
        for number, name in enumerate(names):
            made = [job(f"x@{name}", f"y@{name}", f"z@{name}", message_id=f"{number}{n:016}") for n in range(12)]
            for each in made:
                destinations[number].add(parcel(each, destination=name))
        while not all(each.is_idle for each in destinations):
            await asyncio.wait([task for each in destinations for task in each._couriers.values()] or [tick()])
        await all_left(town, destinations)
        expected = Counter(f"{number}{n:016}" for number in range(3) for n in range(12))
        expected.update(each.job.id for each in town.divided)
        assert Counter(each.job.id for each, _, _ in town.reports) == expected
        assert town.bugs == []
        for name in ("mx.example.net", "mx2.example.net", "a.test"):
            quota = town.means.quotas.of(name)
            assert quota is not None
            assert quota.pace is None or not quota.pace._claims
            for _ in range(limit.connections or 0):
                assert quota.enter(destinations[0])

    with surroundings(tmp_path_factory.mktemp("town"), TWO, FIRST, SECOND) as around:
        for number, exchanger in enumerate(around.exchangers):
            moody(exchanger, random.Random(seed + number), share, MOODS, ["CONNECT", "EHLO", *TRANSACTION])
        run(lambda: main(around))


def tick() -> "asyncio.Task[None]":
    """A moment, for what waits for its slot."""
    return asyncio.ensure_future(asyncio.sleep(0.001))
