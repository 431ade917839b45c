"""Hostile next hops all at once, and the whole delivery process: other mail goes on, and what is kept is text."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from relayd.base import events
from relayd.smtp.client import Phase
from relayd.spool.outcome import Kind
from tests.deliver.process import Running, configuration, delivery
from tests.deliver.running import run
from tests.hostile.next_hop import LONG, MAIL, Case
from tests.hostile.next_hop_cases import CASES
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port

GOOD = "127.0.0.2"
ORDINARY = 30
EVENTS: dict[Kind, type[events.Event]] = {
    Kind.DELIVERED: events.DeliveryDelivered,
    Kind.DEFERRED: events.DeliveryDeferred,
    Kind.FAILED: events.DeliveryFailed,
    Kind.IN_DOUBT: events.DeliveryInDoubt,
}
SMALL = [case for case in CASES if case.mail == MAIL and not case.is_old]
FEW = [
    case
    for case in SMALL
    if case.name
    in {
        "a banner that never comes",
        "a dribbled banner",
        "endless 220- lines",
        "endless NULs",
        "5yz banner",
        "thousands of keywords, more than fit",
        "silence at RCPT",
        "421 at RCPT",
        "550 of control characters to MAIL",
        "550 of control characters to RCPT",
        "550 with 8-bit text",
        "554 of control characters after the dot",
        "silence after the dot",
        "a megabyte after the dot",
        "RST after the dot",
        "250 after the dot, and garbage without end",
    }
]


def zone(cases: Sequence[Case]) -> str:
    """A domain for each of them, and example.org, whose exchanger is a good one."""
    hosts = [("example.org", GOOD)]
    hosts += [(f"h{number}.example.net", address(number)) for number, _ in enumerate(cases)]
    return "".join(f"{host}. 60 IN MX 10 mx.{host}.\nmx.{host}. 60 IN A {at}\n" for host, at in hosts)


def address(number: int) -> str:
    """Where the exchanger of a case listens."""
    return f"127.0.{1 + number // 200}.{1 + number % 200}"


def is_clean(octets: bytes) -> bool:
    """Text of lines, nothing in which moves a terminal's cursor or turns its direction."""
    return all(
        each.isprintable() for each in octets.decode().replace("\r\n", "").replace("\t", "").replace("\n", "")
    )


async def told(running: Running, ids: Sequence[str]) -> dict[str, type[events.Event]]:
    """What became of messages, by ID, once each of these has come to something."""

    def became() -> dict[str, type[events.Event]]:
        return {event.id: event_of for event_of in EVENTS.values() for event in running.log.named(event_of)}

    await running.log.until(lambda: {*ids} <= became().keys())
    return became()


@pytest.mark.parametrize(
    ("cases", "patience"),
    [pytest.param(FEW, None, id="few"), pytest.param(SMALL, 5.0, id="all", marks=pytest.mark.long)],
)
def test_hostile_next_hops_stall_no_other_mail(
    tmp_path: Path, cases: Sequence[Case], patience: float | None
) -> None:
    """A message to each and many to a good one: all in their class; journals and notifications are text.

    The silent are given up after so many seconds, and no other is as slow as that; or they are silent to the end.
    """

    # What has a limit of its own is what takes it.
    ended = cases if patience else [case for case in cases if not case.limits]

    async def main() -> None:
        async with delivery(config, replies=dict.fromkeys(Phase, patience or LONG)) as running:
            submitted = [running.submit(f"bob@h{number}.example.net") for number, _ in enumerate(cases)]
            of_each = [
                (case, name.partition(",")[0])
                for case, name in zip(cases, submitted, strict=True)
                if case in ended
            ]
            for _ in range(ORDINARY):
                running.submit("carol@example.org")
            await asyncio.to_thread(good.wait_for, ORDINARY)
            became = await told(running, [name for _, name in of_each])
            for case, name in of_each:
                assert became[name] is EVENTS[case.kinds[0]], case.name
            failures = sum(case.kinds[0] is Kind.FAILED for case in cases)
            await asyncio.to_thread(good.wait_for, ORDINARY + failures)

    with ExitStack() as stack:
        hosts = [GOOD, *(address(number) for number, _ in enumerate(cases))]
        port = free_port(*hosts)
        config = configuration(tmp_path, stack.enter_context(NameServer(zone(cases))).address, port)
        good, *exchangers = [stack.enter_context(Exchanger(host, port)) for host in hosts]
        for case, exchanger in zip(cases, exchangers, strict=True):
            case.set_up(exchanger)
        run(main)
        notifications = [each for each in good.messages if each.reverse_path.startswith(b"MAIL FROM:<>")]
    assert len(good.messages) == ORDINARY + len(notifications)
    for message in notifications:
        assert is_clean(message.data), message.data
    journals = list((tmp_path / "spool" / "journal").iterdir())
    assert journals
    for journal in journals:
        for line in journal.read_bytes().splitlines():
            assert is_clean(line), line
            assert json.loads(line)
