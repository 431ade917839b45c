"""Choosing, from the look-up to the connection: races, circuits, shares, and connections that are kept."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.sections import Route
from relayd.deliver.exchangers import Candidate
from relayd.deliver.hop import Hop, Reached, Unreached
from relayd.deliver.quotas import Full
from tests.deliver.running import on_each_loop, run
from tests.deliver.town import FIRST, ONE, SECOND, TWO_EQUAL, TWO_TIERS, Town, letters, surroundings
from tests.world.blackhole import BlackHole

MESSAGE = "01jwn9q3w5zabcdef"
TWO_ADDRESSES = f"{ONE}\nmx.example.net. 60 IN A 127.0.0.3\n"


async def reach(town: Town, hop: Hop | None = None) -> Reached | Unreached:
    """Come to the exchanger, and leave it."""
    reached = await (hop or town.hop()).reach(MESSAGE)
    if isinstance(reached, Reached):
        await reached.connection.leave()
    return reached


async def at_address(town: Town, hop: Hop | None = None) -> str:
    """The address that mail goes to now."""
    reached = await reach(town, hop)
    assert isinstance(reached, Reached)
    return str(reached.connection.candidate.address)


# Races.


@on_each_loop
def test_a_black_holed_address_costs_its_head_start_once(tmp_path: Path, loop: str) -> None:
    """A quarter of a second, not a timeout; the messages that follow go to the other address at once."""

    async def main() -> None:
        town = around.town()
        # DNS gives the two in any order: the first message meets it, or the second one, which measures it.
        assert [await at_address(town), await at_address(town)] == [SECOND, SECOND]
        assert town.counters.get("connections") == 3
        for _ in range(20):
            assert await at_address(town) == SECOND
        assert town.counters.get("connections") == 23
        assert town.named(events.DeliveryAttempted) == []

    with surroundings(tmp_path, TWO_ADDRESSES, FIRST, SECOND) as around:
        around.exchangers[0].stop()
        with BlackHole(FIRST, around.port):
            run(main, loop)


def test_the_winner_that_does_not_greet_leaves_the_rest_of_the_race_to_the_others(tmp_path: Path) -> None:
    """Before another exchanger is asked; the reason names the address."""

    async def main() -> None:
        town = around.town()
        reached = [await reach(town), await reach(town)]
        vias = [each.via for each in reached if isinstance(each, Reached)]
        assert [each.address for each in vias] == [f"{SECOND}:{around.port}"] * 2
        (failed,) = [each.chosen for each in vias if "did not answer" in each.chosen]
        assert failed.startswith(f"{FIRST}:{around.port} did not answer; ")

    with surroundings(tmp_path, TWO_ADDRESSES, FIRST, SECOND) as around:
        around.exchangers[0].replies = {"CONNECT": b"421 busy\r\n"}
        run(main)


def test_time_to_connect_and_to_the_greeting_are_measured_apart(tmp_path: Path) -> None:
    """The first gives head starts, the second the choice."""

    async def main() -> None:
        town = around.town()
        reached = await reach(town)
        assert isinstance(reached, Reached)
        measure = town.ways.latencies.of(reached.connection.candidate)
        assert measure.connect_s is not None
        assert measure.latency_s is not None
        assert measure.connect_s < 0.1 <= measure.latency_s

    with surroundings(tmp_path) as around:
        around.exchangers[0].greeting_delay = 0.1
        run(main)


# Circuits.


def test_the_log_says_when_an_address_is_given_up_and_when_it_is_back(tmp_path: Path) -> None:
    """Once each, with the address; that of the destination has none."""

    async def main() -> None:
        town, place = around.town(), f"{FIRST}:{around.port}"
        around.exchangers[0].stop()
        for _ in range(4):
            assert isinstance(await reach(town), Unreached)
        (opened,) = town.named(events.CircuitOpened)
        assert isinstance(opened, events.CircuitOpened)
        assert (opened.exchanger, opened.address, opened.failures) == ("mx.example.net", place, 3)
        assert "Connection refused" in opened.reply
        around.exchangers[0].start()
        assert await at_address(town) == FIRST
        (closed,) = town.named(events.CircuitClosed)
        assert isinstance(closed, events.CircuitClosed)
        assert (closed.exchanger, closed.address) == ("mx.example.net", place)

    with surroundings(tmp_path) as around:
        run(main)


def test_a_better_preference_whose_circuit_is_open_is_passed_over_and_probed_by_real_mail(tmp_path: Path) -> None:
    """After its rest, by one message."""

    async def main() -> None:
        town = around.town()
        town.now = 1000.0
        around.exchangers[0].stop()
        for _ in range(3):
            assert await at_address(town) == SECOND
            town.now += 31.0
        tried = town.counters.get("connections")
        assert await at_address(town) == SECOND
        assert town.counters.get("connections") == tried + 1
        around.exchangers[0].start()
        town.now += 61.0
        assert await at_address(town) == FIRST

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        run(main)


# The way out.


def test_a_timeout_outward_is_noted_and_any_answer_takes_it_back(tmp_path: Path) -> None:
    """A route's own host says nothing of the way out."""

    async def main() -> None:
        town = around.town(connect=0.3)
        assert isinstance(await reach(town, town.hop(route=Route((FIRST,), around.port))), Unreached)
        assert town.ways.outward.destinations == set()
        assert isinstance(await reach(town), Unreached)
        assert town.ways.outward.destinations == {"example.net"}
        hole.__exit__(None, None, None)
        assert isinstance(await reach(town), Unreached)
        assert town.ways.outward.destinations == set()

    with surroundings(tmp_path) as around:
        around.exchangers[0].stop()
        with BlackHole(FIRST, around.port) as hole:
            run(main)


# The rule.


@pytest.mark.parametrize(("rank", "address"), [("preference", FIRST), ("latency", SECOND)])
def test_the_rule_is_the_configurations_or_the_routes(tmp_path: Path, rank: str, address: str) -> None:
    """A route without hosts only says how the domain's own exchangers are used."""

    async def main() -> None:
        for town, route in (
            (around.town(f'rank = "{rank}"'), None),
            (around.town(), Route((), rank=rank)),  # type: ignore[arg-type]
        ):
            _measure(town, around.port, one=0.2, two=0.001, second=20)
            assert await at_address(town, town.hop(route=route)) == address

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        run(main)


def _measure(town: Town, port: int, *, one: float, two: float, second: int = 10) -> None:
    now = town.ways.clock()
    for name, address, seconds, preference in (("one", FIRST, one, 10), ("two", SECOND, two, second)):
        candidate = Candidate(preference, f"{name}.example.net", ip_address(address), port)
        for ago in (1.0, 0.0):
            town.ways.latencies.greeted(candidate, seconds, now - ago)


# Shares and kept connections.


def test_what_is_explored_counts_against_the_share(tmp_path: Path) -> None:
    """The first choice among unknown exchangers is none; the second message measures the other one."""

    async def main() -> None:
        town = around.town()
        hop = town.hop()
        both = {await at_address(town, hop), await at_address(town, hop)}
        assert both == {FIRST, SECOND}
        assert town.ways.shares.of("example.net").explored == 1

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        run(main)


def test_an_exchanger_that_is_full_ends_the_attempt_untried(tmp_path: Path) -> None:
    """By the operator's limit, before any connection; the share is not touched."""

    async def main() -> None:
        town = around.town()
        _measure(town, around.port, one=0.001, two=0.001)
        asked = []

        def admit(exchanger: str) -> None:
            asked.append(exchanger)
            raise Full

        with pytest.raises(Full):
            await town.hop().reach(MESSAGE, admit)
        assert (len(asked), town.counters.get("connections")) == (1, 0)
        assert town.ways.shares.of("example.net").explored == 0

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        run(main)


def test_a_reason_is_not_looked_for_again_while_nothing_is_learned(tmp_path: Path) -> None:
    """A message on a kept connection costs no choice; what is learned, or a second, makes one."""

    async def main() -> None:
        town = around.town()
        town.now = 1000.0
        hop = town.hop()
        reached = await reach(town, hop)
        assert isinstance(reached, Reached)
        kept = hop.kept(reached)
        assert kept is not None
        assert kept.via.chosen.startswith("kept connection: mx.example.net")
        assert hop.kept(kept) is kept
        town.now = 1001.0
        again = hop.kept(kept)
        assert again is not kept
        assert again is not None
        town.ways.latencies.greeted(reached.connection.candidate, 0.5, 1001.0)
        assert hop.kept(again) is not again

    with surroundings(tmp_path) as around:
        run(main)


def test_one_of_several_is_measured_again_after_thirty_messages(tmp_path: Path) -> None:
    """One connection is given up for it, the others of the destination wait for what its successor finds."""

    async def main() -> None:
        town = around.town()
        _measure(town, around.port, one=0.001, two=0.2)
        hop = town.hop()
        reached = await reach(town, hop)
        assert isinstance(reached, Reached)
        for _ in range(29):
            hop.carries()
        assert hop.kept(reached) is not None
        hop.carries()
        assert hop.kept(reached) is None
        assert hop.kept(reached) is not None

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        run(main)


def test_the_only_exchanger_is_not_given_up_to_be_measured(tmp_path: Path) -> None:
    """There is nothing to choose."""

    async def main() -> None:
        town = around.town()
        hop = town.hop()
        reached = await reach(town, hop)
        assert isinstance(reached, Reached)
        for _ in range(1000):
            hop.carries()
        assert hop.kept(reached) is not None

    with surroundings(tmp_path) as around:
        run(main)


def test_mail_leaves_a_kept_connection_when_its_exchanger_has_become_slow(tmp_path: Path) -> None:
    """Though that connection itself is as fast as ever: within a hundred messages the other one has the mail."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1")
        destination = town.destination()
        for each in letters(300):
            destination.add(each)
        await town.reported(100)
        slow = town.reports[-1][2].exchanger
        around.exchangers[slow == "two.example.net"].greeting_delay = 0.2
        await town.reported(300)
        used = [via.exchanger for _, _, via in town.reports[200:]]
        assert set(used) == {"one.example.net", "two.example.net"} - {slow}

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        for place, exchanger in enumerate(around.exchangers):
            exchanger.greeting_delay = place * 0.02
        run(main)
