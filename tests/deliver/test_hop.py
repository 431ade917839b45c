"""A hop: from a domain to an exchanger that is ready for mail, past those that are not."""

import asyncio
import threading
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.sections import Route
from relayd.deliver.exchangers import Candidate, Ourselves
from relayd.deliver.hop import Reached, Unreached
from tests.deliver.running import LONGEST_SECONDS, on_each_loop, run
from tests.deliver.town import FIRST, ONE, SECOND, TWO_EQUAL, TWO_TIERS, Town, surroundings
from tests.world.exchanger import Script
from tests.world.session import Session

MESSAGE = "01jwn9q3w5zabcdef"


async def reach(town: Town, destination: str = "example.net", route: Route | None = None) -> Reached | Unreached:
    """Come to the exchanger, and leave it."""
    reached = await town.hop(destination, route).reach(MESSAGE)
    if isinstance(reached, Reached):
        await reached.connection.leave()
    return reached


def why(unreached: Reached | Unreached) -> str:
    """The reply as a line."""
    assert isinstance(unreached, Unreached)
    return str(unreached.answer)


@on_each_loop
def test_mail_comes_to_the_exchanger_that_dns_names(tmp_path: Path, loop: str) -> None:
    """With our full name in EHLO, and a measure of its greeting."""

    async def main() -> None:
        town = around.town()
        reached = await reach(town)
        assert isinstance(reached, Reached)
        assert reached.via.exchanger == "mx.example.net"
        assert reached.connection.greeting_s is not None
        assert reached.via.greeting_s == round(reached.connection.greeting_s, 6)
        measure = town.ways.latencies.of(reached.connection.candidate)
        assert (measure.samples, measure.circuit.failures) == (1, 0)

    with surroundings(tmp_path) as around:
        run(main, loop)
        assert around.exchangers[0].sessions[0].lines == [b"EHLO relay.example.org", b"QUIT"]


def test_a_server_without_ehlo_is_spoken_to_with_helo(tmp_path: Path) -> None:
    """Section 3.2."""

    async def main() -> None:
        assert isinstance(await reach(around.town()), Reached)

    with surroundings(tmp_path) as around:
        around.exchangers[0].ehlo = False
        run(main)
        assert around.exchangers[0].commands["HELO"] == 1


@pytest.mark.parametrize(
    ("verb", "script"),
    [
        ("CONNECT", b"421 busy\r\n"),
        ("CONNECT", b"450 busy\r\n"),
        ("CONNECT", b"554 not for you\r\n"),
        ("CONNECT", b""),
        ("CONNECT", b"what?\r\n"),
        ("EHLO", b"450 busy\r\n"),
        ("EHLO", b"421 busy\r\n"),
        ("EHLO", b""),
        ("EHLO", b"250-never ends\r\n"),
    ],
)
def test_what_fails_before_mail_falls_over_to_the_next(tmp_path: Path, verb: str, script: Script) -> None:
    """In the same attempt; the log has it, and the reason names who did not answer."""

    async def main() -> None:
        town = around.town(greeting=0.3, hello=0.3)
        reached = await reach(town)
        assert isinstance(reached, Reached)
        assert reached.via.exchanger == "two.example.net"
        assert reached.via.chosen.startswith("one.example.net did not answer; ")
        (attempt,) = town.named(events.DeliveryAttempted)
        assert isinstance(attempt, events.DeliveryAttempted)
        assert (attempt.id, attempt.exchanger) == (MESSAGE, "one.example.net")

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].replies = {verb: script}
        run(main)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
def test_a_connection_lost_before_mail_falls_over_too(tmp_path: Path, verb: str) -> None:
    """And counts against the exchanger."""

    async def main() -> None:
        town = around.town()
        reached = await reach(town)
        assert isinstance(reached, Reached)
        assert reached.via.exchanger == "two.example.net"
        assert town.ways.latencies.of(reached.candidates[0]).circuit.failures == 1

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].drop_after = verb
        run(main)


def test_a_refused_connection_falls_over(tmp_path: Path) -> None:
    """The port is closed."""

    async def main() -> None:
        reached = await reach(around.town())
        assert isinstance(reached, Reached)
        assert reached.via.exchanger == "two.example.net"

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].stop()
        run(main)


def test_a_goodbye_with_the_answer_to_ehlo_falls_over(tmp_path: Path) -> None:
    """The exchanger said 250 and was gone before MAIL could be sent."""

    async def main() -> None:
        reached = await reach(around.town())
        assert isinstance(reached, Reached)
        assert reached.via.exchanger == "two.example.net"

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].replies = {"EHLO": b"250 one\r\n421 and goodbye\r\n"}
        run(main)


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (b"554 not for you\r\n", "450 4.4.0 refused before MAIL: 554 not for you"),
        (b"421 4.7.0 busy\r\n", "421 4.7.0 busy"),
    ],
)
def test_when_all_refuse_the_mail_waits(tmp_path: Path, greeting: bytes, answer: str) -> None:
    """A 5yz greeting says nothing of a recipient: it is no permanent failure. The words are the last one's."""

    async def main() -> None:
        town = around.town()
        unreached = await reach(town)
        assert why(unreached) == answer
        assert isinstance(unreached, Unreached)
        assert unreached.via.exchanger == "two.example.net"
        assert len(town.named(events.DeliveryAttempted)) == 2

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        for each in around.exchangers:
            each.replies = {"CONNECT": greeting}
        run(main)


def test_the_better_preference_is_used_although_slower(tmp_path: Path) -> None:
    """Section 5.1: the preference is the sort key."""

    async def main() -> None:
        town = around.town()
        for _ in range(5):
            reached = await reach(town)
            assert isinstance(reached, Reached)
            assert reached.via.exchanger == "one.example.net"
            assert "two.example.net (not measured) has preference 20" in reached.via.chosen

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].greeting_delay = 0.02
        run(main)
        assert around.exchangers[1].connections == 0


def test_one_connection_measures_an_unknown_exchanger(tmp_path: Path) -> None:
    """While it is under way, the others go where it is known to be good."""

    async def main() -> None:
        town = around.town()
        known = Candidate(10, "two.example.net", ip_address(SECOND), around.port)
        town.ways.latencies.greeted(known, 0.001, town.ways.clock())
        measuring = asyncio.ensure_future(reach(town))
        await asyncio.to_thread(asked.wait, LONGEST_SECONDS)
        reached = await reach(town)
        assert isinstance(reached, Reached)
        assert reached.via.exchanger == "two.example.net"
        gate.set()
        measured = await measuring
        assert isinstance(measured, Reached)
        assert measured.via.exchanger == "one.example.net"

    asked, gate = threading.Event(), threading.Event()

    def greeting(session: Session, line: bytes) -> None:
        asked.set()
        gate.wait(LONGEST_SECONDS)

    with surroundings(tmp_path, TWO_EQUAL, FIRST, SECOND) as around:
        around.exchangers[0].replies = {"CONNECT": greeting}
        run(main)


@pytest.mark.parametrize("zone", [TWO_EQUAL, f"{ONE}\nmx.example.net. 60 IN A 127.0.0.3\n"])
def test_an_attempt_ends_though_there_are_more_addresses(tmp_path: Path, zone: str) -> None:
    """Else a zone of many silent ones would hold its mail up for a day."""

    async def main() -> None:
        town = around.town(greeting=0.05, reach=0.01)
        assert why(await reach(town)) == "451 4.4.2 timeout while waiting for: greeting"

    with surroundings(tmp_path, zone, FIRST, SECOND) as around:
        for each in around.exchangers:
            each.replies = {"CONNECT": b""}
        run(main)
        assert sum(each.connections for each in around.exchangers) == 1


# What DNS leaves.


@pytest.mark.parametrize(
    ("zone", "domain", "answer"),
    [
        ("", "example.net", "550 5.1.2 example.net: no such domain"),
        ("example.net. 60 IN MX 0 .", "example.net", "556 5.1.10 example.net does not accept mail (null MX)"),
        ("example.net. 60 IN TXT x", "example.net", "550 5.4.4 example.net has no address"),
        ("example.net. 60 IN MX 10 gone.test.", "example.net", "550 5.4.4 gone.test: no such domain"),
        ("", "[nonsense]", "550 5.4.4 [nonsense] is not an address literal"),
        ("", "[0.0.0.0]", "550 5.4.4 no exchanger has an address that a host can have"),
    ],
)
def test_a_domain_without_a_way_is_a_permanent_failure(
    tmp_path: Path, zone: str, domain: str, answer: str
) -> None:
    """Nothing is connected to."""

    async def main() -> None:
        assert why(await reach(around.town(), domain)) == answer

    with surroundings(tmp_path, zone) as around:
        run(main)
        assert around.exchangers[0].connections == 0


def test_an_exchanger_whose_look_up_fails_may_come_later(tmp_path: Path) -> None:
    """The others have no address at all, and that one may be the way."""

    async def main() -> None:
        assert why(await reach(around.town())).startswith("451 4.4.3 ")

    zone = "example.net. 60 IN MX 10 gone.test.\nexample.net. 60 IN MX 20 mx.example.net.\n"
    with surroundings(tmp_path, zone) as around:
        around.names.servfail("mx.example.net")
        run(main)


def test_an_exchanger_without_an_address_is_passed_over(tmp_path: Path) -> None:
    """While another one has one."""

    async def main() -> None:
        assert isinstance(await reach(around.town()), Reached)

    with surroundings(tmp_path, ONE + "example.net. 60 IN MX 5 gone.test.\n") as around:
        run(main)


def test_an_address_literal_needs_no_dns(tmp_path: Path) -> None:
    """user@[127.0.0.2]."""

    async def main() -> None:
        assert isinstance(await reach(around.town(), f"[{FIRST}]"), Reached)

    with surroundings(tmp_path) as around:
        run(main)
        assert around.names.queries == []


def test_private_exchangers_are_named_in_the_reply(tmp_path: Path) -> None:
    """By the key that would allow them."""

    async def main() -> None:
        town = around.town(private=False)
        assert "delivery.private_exchangers = true" in why(await reach(town))

    with surroundings(tmp_path) as around:
        run(main)


def test_we_are_not_looked_up_to_be_left_out(tmp_path: Path) -> None:
    """The exchanger with our name ends the list, though its own look-up would fail."""

    async def main() -> None:
        ours = Ourselves("one.example.net", frozenset({(ip_address("127.0.0.77"), around.port)}))
        assert why(await reach(around.town(ourselves=ours))).startswith("554 5.4.6 ")

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.names.servfail("one.example.net")
        run(main)


# Routes.


def test_a_route_takes_the_place_of_mx(tmp_path: Path) -> None:
    """To its own port, private or not."""

    async def main() -> None:
        route = Route((FIRST,), around.port)
        assert isinstance(await reach(around.town(private=False), "route", route), Reached)

    with surroundings(tmp_path, "") as around:
        run(main)
        assert around.names.queries == []


@pytest.mark.parametrize(
    ("route", "answer"),
    [
        (
            Route(("gone.test",), 25),
            "450 4.4.0 the route's host is not known: 550 5.4.4 gone.test: no such domain",
        ),
        (Route(("127.0.0.77",), 2525), "451 4.4.6 the route to 127.0.0.77:2525 leads back to this host"),
        (
            Route(("2001:db8::1",), 25),
            "450 4.4.0 the route cannot be taken: 550 5.4.4 "
            'no exchanger has an address that delivery.ip = "4" allows',
        ),
    ],
)
def test_a_route_that_leads_nowhere_keeps_the_mail_waiting(tmp_path: Path, route: Route, answer: str) -> None:
    """It is the operator's slip, who will mend it; nobody's mail comes back for it."""

    async def main() -> None:
        ours = Ourselves("relay.example.org", frozenset({(ip_address("127.0.0.77"), 2525)}))
        town = around.town('ip = "4"', ourselves=ours)
        assert why(await reach(town, "route", route)) == answer

    with surroundings(tmp_path, "") as around:
        run(main)


# Who else came to an exchanger meanwhile.


def test_a_failure_is_contradicted_by_another_connection_that_came_through(tmp_path: Path) -> None:
    """In the same time: the exchanger is not down, it does not take all that we open."""

    async def main() -> None:
        hop = around.town().hop()
        first = asyncio.ensure_future(hop.reach(MESSAGE))
        await asyncio.to_thread(asked.wait, LONGEST_SECONDS)
        second = await hop.reach(MESSAGE)
        assert isinstance(second, Reached)
        await second.connection.leave()
        gate.set()
        refused = await first
        assert isinstance(refused, Unreached)
        assert refused.is_contradicted
        around.exchangers[0].stop()
        alone = await hop.reach(MESSAGE)
        assert isinstance(alone, Unreached)
        assert not alone.is_contradicted

    asked, gate = threading.Event(), threading.Event()

    def greeting(session: Session, line: bytes) -> bytes | None:
        if session.number > 1:
            return None
        asked.set()
        gate.wait(LONGEST_SECONDS)
        return b"421 busy\r\n"

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {"CONNECT": greeting}
        run(main)
