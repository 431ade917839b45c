"""Keeping: measures that outlive the process, and files that nobody can count with."""

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.base import events
from relayd.deliver.exchangers import Candidate
from relayd.deliver.keeping import Keeping
from relayd.deliver.measures import Latencies
from relayd.deliver.outward import Outward
from relayd.spool.disk import Disk
from relayd.spool.layout import Layout
from tests.deliver.process import configuration, delivery
from tests.deliver.running import run
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port

SIX = Candidate(10, "mx.test", ip_address("2001:db8::1"), 25)
FOUR = Candidate(10, "mx.test", ip_address("192.0.2.1"), 25)
WALL = 1_800_000_000.0


def keeping(folder: Path, clock: float, wall: float = WALL, disk: Disk | None = None) -> Keeping:
    """A keeping at one instant."""
    return Keeping(Layout(str(folder)), disk, lambda: clock, lambda: wall)


def test_what_was_measured_is_there_after_a_restart(tmp_path: Path) -> None:
    """With its age, though the clock of the new process begins elsewhere."""
    latencies, outward = Latencies(), Outward()
    latencies.connected(SIX, 0.010, 1000.0)
    latencies.greeted(SIX, 0.030, 1000.0)
    for _ in range(3):
        latencies.failed(FOUR, 1050.0)
    for number in range(3):
        outward.timed_out(f"{number}.test", 1010.0)
    before = keeping(tmp_path, 1060.0)
    before.write(before.snapshot(latencies, outward))
    found = keeping(tmp_path, 5.0, WALL + 40.0).read()
    known = Latencies()
    known.restore(found.measures)
    six, four = known.of(SIX), known.of(FOUR)
    assert (six.latency_s, six.connect_s, six.samples) == (0.030, 0.010, 1)
    assert six.greeted_at == pytest.approx(5.0 - 100.0)
    assert four.circuit.state(5.0) == "open"
    assert four.circuit.rests_until == pytest.approx(5.0 + 10.0)
    assert (found.outward.looks_blocked, found.age, found.trouble) == (True, 40.0, "")
    assert found.outward.since == pytest.approx(5.0 - 90.0)


def test_what_is_older_than_a_week_is_forgotten(tmp_path: Path) -> None:
    """When it is written and when it is read."""
    latencies = Latencies()
    latencies.greeted(SIX, 0.030, 0.0)
    latencies.greeted(FOUR, 0.030, 100_000.0)
    before = keeping(tmp_path, 604_801.0)
    before.write(before.snapshot(latencies, Outward()))
    (kept,) = keeping(tmp_path, 604_801.0).read().measures
    assert kept[0][1] == FOUR.address
    assert keeping(tmp_path, 0.0, WALL + 604_800.0).read().measures == ()


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """What was heard of last stays."""
    latencies = Latencies()
    for number in range(6000):
        latencies.greeted(Candidate(10, f"mx{number}.test", FOUR.address, 25), 0.1, float(number))
    before = keeping(tmp_path, 6000.0)
    before.write(before.snapshot(latencies, Outward()))
    assert (tmp_path / "exchangers").stat().st_size < 2_000_000
    measures = before.read().measures
    assert (len(measures), measures[0][0][0]) == (5000, "mx1000.test")


def test_a_clock_that_was_set_back_makes_nothing_of_the_future(tmp_path: Path) -> None:
    """It would be fresh for as long as the clock was wrong."""
    latencies = Latencies()
    latencies.greeted(SIX, 0.030, 1000.0)
    before = keeping(tmp_path, 1000.0)
    before.write(before.snapshot(latencies, Outward()))
    ((_, measure),) = keeping(tmp_path, 5.0, WALL - 86_400.0).read().measures
    assert (measure.greeted_at, measure.heard_at) == (5.0, 5.0)


def test_without_a_file_nothing_is_known_and_nothing_is_wrong(tmp_path: Path) -> None:
    """The first start."""
    found = keeping(tmp_path, 0.0).read()
    assert (found.measures, found.trouble) == ((), "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format":"relayd exchangers 2","written":1}',
        b'{"format":"relayd exchangers 1","written":"then"}',
        b"[" * 100_000,
        b'{"format":"relayd exchangers 1","written":1,"exchangers":[{"exchanger":7}]}',
    ],
)
def test_a_broken_or_foreign_file_is_not_used(tmp_path: Path, content: bytes) -> None:
    """And says so."""
    (tmp_path / "exchangers").write_bytes(content)
    found = keeping(tmp_path, 0.0).read()
    assert found.measures == ()
    assert found.trouble.startswith(f"{tmp_path}/exchangers is not used: ")


def test_no_other_kind_of_file_is_opened(tmp_path: Path) -> None:
    """A FIFO would hold up the start."""
    os.mkfifo(tmp_path / "exchangers")
    assert "it is a FIFO" in keeping(tmp_path, 0.0).read().trouble


@pytest.mark.parametrize(
    "wrong",
    [
        '"address":"mx.test"',
        '"greeting_s":-1.0,"samples":1',
        '"greeting_s":1e300,"samples":1',
        '"trouble":7.0',
        '"failures":-1',
        '"greeting_s":null,"samples":3',
        '"heard":1e300',
    ],
)
def test_an_entry_that_cannot_be_counted_with_is_left_out(tmp_path: Path, wrong: str) -> None:
    """The others are used."""
    good = f'"exchanger":"good.test","address":"192.0.2.1","port":25,"heard":{WALL}'
    (tmp_path / "exchangers").write_text(
        f'{{"format":"relayd exchangers 1","written":1,"exchangers":[{{{good},{wrong}}},{{{good}}}]}}'
    )
    found = keeping(tmp_path, 0.0).read()
    assert found.trouble == ""
    assert len(found.measures) == (2 if wrong == '"heard":1e300' else 1)


class Ends(Disk):
    """A disk whose process dies at one step."""

    def __init__(self, step: str) -> None:
        self._step = step

    def write(self, fd: int, octets: bytes) -> None:
        """Half of it, or all."""
        super().write(fd, octets[: len(octets) // 2] if self._step == "write" else octets)
        if self._step == "write":
            raise OSError(28, "No space left on device")

    def sync(self, fd: int) -> None:
        """Not any more."""
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("step", ["write", "sync"])
def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path: Path, step: str) -> None:
    """And the next one replaces it."""
    latencies = Latencies()
    latencies.greeted(SIX, 0.030, 0.0)
    whole = keeping(tmp_path, 0.0)
    whole.write(whole.snapshot(latencies, Outward()))
    latencies.greeted(FOUR, 0.030, 0.0)
    cut = keeping(tmp_path, 0.0, disk=Ends(step))
    with pytest.raises(OSError, match=r"No space|error"):
        cut.write(cut.snapshot(latencies, Outward()))
    assert len(whole.read().measures) == 1
    whole.write(whole.snapshot(latencies, Outward()))
    assert len(whole.read().measures) == 2


ZONE = """
example.net. 60 IN MX 10 mx.example.net.
mx.example.net. 60 IN A 127.0.0.2
"""


def test_the_delivery_process_keeps_what_it_measured(tmp_path: Path) -> None:
    """At its end; the next one begins with it, and its first choice says so."""
    port = free_port("127.0.0.2")

    async def main() -> None:
        async with delivery(config) as first:
            first.submit("bob@example.net")
            await first.log.has(events.DeliveryDelivered)
        (spool / "exchangers").stat()
        async with delivery(config) as second:
            second.submit("bob@example.net")
            (delivered,) = await second.log.has(events.DeliveryDelivered)
            assert "not measured" not in delivered.chosen
            assert second.log.named(events.SpoolTrouble) == []
        (spool / "exchangers").write_text("nothing of ours")
        async with delivery(config) as third:
            (trouble,) = await third.log.has(events.SpoolTrouble)
            assert "exchangers is not used" in trouble.reason

    with NameServer(ZONE) as names, Exchanger("127.0.0.2", port):
        config = configuration(tmp_path, names.address, port)
        spool = config.spool.directory
        run(main)
