"""Hostile zones: whatever a domain's DNS says or fails to say has its class of reply, and stalls no other mail.

All domains are asked for at once. `bin/test tests/hostile/test_zones.py -s` prints the table: case, class, time.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.deliver.exchangers import Exchanger, Ourselves
from relayd.deliver.finding import find
from relayd.deliver.resolve import Resolver
from relayd.deliver.ways import Ways
from relayd.smtp.reply import Reply
from tests.deliver.running import run
from tests.deliver.town import Surroundings, surroundings
from tests.hostile.zones import CASES, OURS

# How long one try at a name server that is silent takes, in seconds.
SHORT, LONG = 0.6, 60.0
ONCE_MORE = ("sound", "null", "absent", "thousand", "fleeting")


@dataclass
class Visit:
    """What all cases came to, in the order in which they came to it, and every question that was asked."""

    found: dict[str, tuple[str, ...] | str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    queries: list[tuple[str, str]] = field(default_factory=list)
    again: list[tuple[str, str]] = field(default_factory=list)

    async def ask(self, name: str, ways: Ways) -> None:
        """Find where mail for this case's domain may go."""
        began = time.monotonic()
        answer = await find(f"{name}.test", None, ways)
        self.seconds[name] = time.monotonic() - began
        self.found[name] = (
            str(answer) if isinstance(answer, Reply) else tuple(str(each.address) for each in answer)
        )

    def print(self) -> None:
        """The table."""
        print(f"\n{'case':<40} {'class':<12} {'ms':>7}")
        for name, found in self.found.items():
            what = " ".join(found.split()[:2]) if isinstance(found, str) else f"{len(found)} found"
            print(f"{CASES[name].what:<40} {what:<12} {self.seconds[name] * 1000:7.1f}")
        print(f"{len(self.found)} cases")


@contextmanager
def hostile(folder: Path) -> Iterator[Surroundings]:
    """A name server with all the zones, and their faults."""
    zone = "\n".join(case.zone.replace("@", f"{name}.test.") for name, case in CASES.items())
    with surroundings(folder, zone) as around:
        for name, case in CASES.items():
            for owner, fault, kind in case.faults:
                around.names.misbehave(owner.replace("@", f"{name}.test."), fault, kind)
        yield around


def ways_there(around: Surroundings, timeout: float) -> Ways:
    """What `find` needs, with a resolver whose clock stands still: what is kept for a time stays."""
    ways = around.town(private=False).ways
    return replace(
        ways,
        resolver=Resolver([around.names.address], timeout, clock=lambda: 0.0),
        ourselves=Ourselves("relay.example.org", frozenset({(ip_address(OURS), ways.settings.port)})),
    )


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Ask for all domains at once, and for some of them once more."""

    async def main() -> Visit:
        hasty, patient, visit = ways_there(around, SHORT), ways_there(around, LONG), Visit()
        await asyncio.gather(*(visit.ask(name, hasty if case.slow else patient) for name, case in CASES.items()))
        visit.queries = around.names.queries
        visit.print()
        for name in ONCE_MORE:
            await visit.ask(name, patient)
        visit.again = around.names.queries[len(visit.queries) :]
        return visit

    with hostile(tmp_path_factory.mktemp("zones")) as around:
        return run(main)


@pytest.mark.parametrize("name", CASES)
def test_each_zone_has_its_class_of_reply(visit: Visit, name: str) -> None:
    """Or the addresses that mail may go to."""
    case, found = CASES[name], visit.found[name]
    if isinstance(case.comes_to, str):
        assert isinstance(found, str)
        assert found.startswith(f"{case.comes_to} ")
        assert case.says in found
        assert found.isprintable()
    else:
        assert len(found) == len(case.comes_to)
        assert all(each.startswith(begins) for each, begins in zip(found, case.comes_to, strict=True))


def test_who_is_silent_stalls_no_other_mail(tmp_path: Path) -> None:
    """Every other domain has its answer while those are still waited for, which were asked for first."""

    async def main() -> None:
        ways, visit = ways_there(around, LONG), Visit()
        silent = [name for name, case in CASES.items() if case.slow and isinstance(case.comes_to, str)]
        waiting = [asyncio.ensure_future(visit.ask(name, ways)) for name in silent]
        await asyncio.gather(*(visit.ask(name, ways) for name, case in CASES.items() if not case.slow))
        assert silent
        assert not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()

    with hostile(tmp_path) as around:
        run(main)


def test_many_who_are_silent_stall_no_other_mail(tmp_path: Path) -> None:
    """More of them than look-ups may be under way; each would last far longer than the test may."""

    async def main() -> None:
        for name in names:
            around.names.silence(name)
        resolver = Resolver([around.names.address], LONG, at_once=4, turn=0.01)
        waiting = [asyncio.ensure_future(resolver.exchangers(name)) for name in names]
        assert await resolver.exchangers("sound.test") == (Exchanger(10, "mx.sound.test"),)
        given_up = [await each for each in waiting[:10]]
        assert {str(each)[:9] for each in given_up} == {"451 4.4.3"}
        for each in waiting:
            each.cancel()

    names = [f"silent{number}.test" for number in range(50)]
    with hostile(tmp_path) as around:
        run(main)


@pytest.mark.parametrize("name", ["thousand", "wide", "long-chain", "loop", "silent", "tcp-silent"])
def test_no_zone_makes_many_look_ups(visit: Visit, name: str) -> None:
    """One for the exchangers, once more over TCP, and two for each of at most twenty."""
    asked = [owner for owner, _ in visit.queries if owner.endswith(f"{name}.test.")]
    assert len(asked) <= 42


def test_what_is_known_is_not_asked_again(visit: Visit) -> None:
    """The answers that say that there is nothing neither; a TTL of 0 is asked for each time."""
    assert {owner.removesuffix(".test.").rpartition(".")[2] for owner, _ in visit.again} == {"fleeting"}
