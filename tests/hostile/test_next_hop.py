"""A hostile next hop: whatever it does, each recipient ends in the right class, in bounded time and memory.

`bin/test tests/hostile/test_next_hop.py -s` prints the table of case, class and time.
"""

import time
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from relayd.spool.outcome import Kind
from tests.deliver.making import ID, job, parcel
from tests.deliver.running import run
from tests.deliver.town import Surroundings, Town, left, surroundings
from tests.hostile.next_hop import BOB, Case
from tests.hostile.next_hop_cases import CASES
from tests.hostile.next_hop_town import assert_is_clean, by_recipient, carry, patience

# What one connection may take at most, in octets, beside the message: a reply, and what is buffered of the socket.
MEMORY = 2_000_000
# Measuring it doubles the time: it is done where the name of a case has one of these words.
FLOODS = ("endless", "without end", "megabyte", "thousand", "mail data", "reads")

Table = list[tuple[str, str, float, int | None]]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """The table, printed when all have been tried."""
    rows: Table = []
    yield rows
    print(f"\n{'case':<64} {'class':<10} {'seconds':>7} {'KiB':>6}")
    for name, kinds, seconds, octets in rows:
        print(f"{name:<64} {kinds:<10} {seconds:7.3f} {'' if octets is None else octets // 1024:>6}")
    print(f"{len(rows)} cases")


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """One exchanger for all cases, one after the other."""
    with surroundings(tmp_path_factory.mktemp("next-hop")) as made:
        yield made


def measured(main: Callable[[], Coroutine[Any, Any, Town]]) -> tuple[Town, int]:
    """Run it, and how many octets of memory it took at most."""
    tracemalloc.start()
    try:
        return run(main), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("case", "pipelining"),
    [
        pytest.param(case, pipelining, id=case.name if pipelining else f"{case.name}, one by one")
        for case in CASES
        for pipelining in case.pipelining
    ],
)
def test_a_hostile_next_hop_ends_in_the_right_class(
    around: Surroundings, table: Table, case: Case, pipelining: bool
) -> None:
    """Exactly so for each recipient, with what the exchanger said or what it did, over one connection."""

    async def main() -> Town:
        town = around.town(**patience(case))
        await carry(town, case)
        return town

    (exchanger,) = around.exchangers
    case.set_up(exchanger, pipelining=pipelining)
    connections = exchanger.connections
    began = time.monotonic()
    town, peak = measured(main) if any(word in case.name for word in FLOODS) else (run(main), None)
    seconds = time.monotonic() - began
    outcomes = by_recipient(town, len(case.kinds))
    kinds = ",".join(dict.fromkeys(each.kind.value for each in outcomes))
    table.append((case.name if pipelining else f"{case.name}, one by one", kinds, seconds, peak))
    assert tuple(each.kind for each in outcomes) == case.kinds, outcomes
    for each in outcomes:
        assert case.says in str(each.reply)
        assert_is_clean(each)
    assert town.bugs == []
    # Mail that has waited is tried in the clear when TLS failed.
    assert exchanger.connections - connections == (2 if case.is_old else 1)
    assert peak is None or peak < MEMORY


def test_a_notification_of_old_mail_is_not_connected_for_without_end(around: Surroundings) -> None:
    """Its ID is as old as the mail that it is about, and it has only just come: it waits for TLS, tried once."""

    async def main() -> Town:
        town = around.town(idle=0.001)
        destination = town.destination()
        destination.add(parcel(job(BOB, message_id=ID)))
        await town.reported(1)
        await left(town, destination)
        return town

    (exchanger,) = around.exchangers
    (case,) = (case for case in CASES if case.name == "454 to STARTTLS")
    case.set_up(exchanger)
    before = exchanger.connections
    assert run(main).kinds() == {Kind.DEFERRED: 1}
    assert exchanger.connections - before == 1
