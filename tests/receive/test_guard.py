"""The guard, the door, the pace and the slowdown: limits as pure arithmetic."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.base.tally import Hand, Tally
from relayd.receive.door import Door
from relayd.receive.guard import Guard
from relayd.receive.pace import Pace
from relayd.receive.policy import Peer
from relayd.receive.slowdown import Slowdown
from tests.receive.live import HOST, configuration

HOUR = 3600.0
ANNA, BERT = b"\x0a\0\0\1", b"\x0a\0\0\2"


def hand() -> Hand:
    """Of the only worker."""
    return Tally(1).hand(0)


def peer(address: str) -> Peer:
    """A client from somewhere."""
    return Peer.of(ip_address(address), 40_000, may_relay=True)


def guard(folder: Path, messages: int, recipients: int) -> Guard:
    """One with these limits."""
    relay = configuration(folder).relay
    return Guard(hand(), replace(relay, messages_per_hour=messages, recipients_per_hour=recipients))


def test_a_client_sends_so_many_messages_an_hour(tmp_path: Path) -> None:
    """Then it is put off, nobody else is, and an hour later it may send again."""
    limited = guard(tmp_path, 2, 0)
    for _ in range(2):
        assert limited.mail(ANNA, 0.0) is None
        limited.accepted(ANNA, 1, 0.0)
    refusal = limited.mail(ANNA, HOUR - 1)
    assert str(refusal).startswith("450 4.7.1 Error: more than 2 messages in an hour")
    assert limited.mail(BERT, 0.0) is None
    assert limited.mail(ANNA, HOUR) is None


def test_a_client_names_so_many_recipients_an_hour(tmp_path: Path) -> None:
    """Those of the transaction that is under way among them."""
    limited = guard(tmp_path, 0, 3)
    limited.accepted(ANNA, 2, 0.0)
    assert limited.rcpt(ANNA, 0, 0.0) is None
    assert str(limited.rcpt(ANNA, 1, 0.0)).startswith("450 4.7.1 Error: more than 3 recipients")
    assert limited.mail(ANNA, 0.0) is None


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    """Nothing is even counted."""
    unlimited = guard(tmp_path, 0, 0)
    unlimited.accepted(ANNA, 10**9, 0.0)
    assert unlimited.mail(ANNA, 0.0) is None
    assert unlimited.rcpt(ANNA, 10**9, 0.0) is None


def test_a_client_is_told_of_once_an_hour(tmp_path: Path) -> None:
    """In the log, where each refusal would be a line."""
    limited = guard(tmp_path, 1, 1)
    assert limited.is_to_tell(ANNA, 0.0)
    assert not limited.is_to_tell(ANNA, 1.0)
    assert limited.is_to_tell(BERT, 1.0)
    assert limited.is_to_tell(ANNA, HOUR)


def test_the_networks_of_hosts_are_one_client_each() -> None:
    """64 bits of IPv6, an address of IPv4."""
    assert peer("2001:db8::1").client == peer("2001:db8::ffff:1").client
    assert peer("2001:db8::1").client != peer("2001:db8:0:1::1").client
    assert peer("192.0.2.1").client != peer("192.0.2.2").client


def test_one_client_has_so_many_sessions() -> None:
    """In all workers together; who has fewer gets in."""
    tally = Tally(2)
    door, other = (Door(HOST, tally.hand(number), 2) for number in range(2))
    for each in (door, other):
        each.opened(peer("192.0.2.1"), 0.0)
    refusal = door.refusal(peer("192.0.2.1"), 1)
    assert refusal is not None
    assert str(refusal.reply).startswith("421 4.7.0")
    assert door.refusal(peer("192.0.2.2"), 1) is None
    other.closed(peer("192.0.2.1"))
    assert door.refusal(peer("192.0.2.1"), 1) is None


def test_one_client_alone_gets_half_of_the_sessions() -> None:
    """The rest is for the others, one by one."""
    door = Door(HOST, hand(), 0)
    door.most = 100
    opened = 0
    while door.refusal(peer("192.0.2.1"), opened) is None:
        door.opened(peer("192.0.2.1"), 0.0)
        opened += 1
    assert 50 <= opened <= 51
    for number in range(100 - opened):
        assert door.refusal(peer(f"198.51.100.{number}"), opened + number) is None
        door.opened(peer(f"198.51.100.{number}"), 0.0)
    refusal = door.refusal(peer("198.51.100.200"), 100)
    assert refusal is not None
    assert refusal.reason == "too many sessions for the limit on open files"


@pytest.mark.parametrize(
    ("memory", "first", "second"), [(0.5, True, True), (0.03, True, False), (0.01, False, False)]
)
def test_when_memory_is_short_only_clients_without_a_session_get_in(
    memory: float, first: bool, second: bool
) -> None:
    """And nobody when there is none."""
    door = Door(HOST, hand(), 0)
    door.look(memory)
    assert (door.refusal(peer("192.0.2.1"), 0) is None) is first
    door.opened(peer("192.0.2.1"), 0.0)
    refusal = door.refusal(peer("192.0.2.1"), 1)
    assert (refusal is None) is second
    if refusal is not None:
        assert str(refusal.reply).startswith("421 4.3.2")


@pytest.mark.parametrize(
    ("lasted", "octets", "slow"), [(60, 0, False), (61, 0, True), (160, 50_000, False), (160, 49_999, True)]
)
def test_a_stranger_sends_at_a_least_rate_after_a_grace(lasted: float, octets: int, slow: bool) -> None:
    """500 octets a second."""
    pace = Pace(1000.0, octets)
    assert pace.is_too_slow(1000.0 + lasted, timeout=300.0, rate=500, largest=50_000_000, is_trusted=False) is slow


@pytest.mark.parametrize(
    ("lasted", "octets", "slow"), [(3599, 0, False), (3600, 3_599_999, True), (3600, 3_600_000, False)]
)
def test_a_client_that_may_relay_has_more_patience_to_expect(lasted: float, octets: int, slow: bool) -> None:
    """And so has everybody where no rate is configured."""
    pace = Pace(0.0, octets)
    assert pace.is_too_slow(lasted, timeout=300.0, rate=500, largest=50_000_000, is_trusted=True) is slow
    assert pace.is_too_slow(lasted, timeout=300.0, rate=0, largest=50_000_000, is_trusted=False) is slow


@pytest.mark.parametrize("is_trusted", [True, False])
def test_no_message_takes_for_ever(is_trusted: bool) -> None:
    """Around small chunks octets come as fast as anybody likes."""
    pace = Pace(0.0, 10**12)
    longest = 50_000 if is_trusted else 100_000
    for lasted, slow in ((longest - 1, False), (longest, True)):
        found = pace.is_too_slow(lasted, timeout=300.0, rate=500, largest=50_000_000, is_trusted=is_trusted)
        assert found is slow
    assert not pace.is_too_slow(3599, timeout=300.0, rate=500, largest=1000, is_trusted=is_trusted)


def test_each_failure_doubles_the_wait() -> None:
    """From one second to thirty."""
    slowdown, now, waits = Slowdown(), 0.0, []
    for _ in range(8):
        wait = slowdown.wait(ANNA, now)
        assert wait is not None
        waits.append(round(wait))
        now += wait
        slowdown.failed(ANNA, "anna", now)
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30]
    assert slowdown.wait(BERT, now) == 0.0


def test_attempts_that_come_at_once_wait_in_a_row() -> None:
    """And those that would wait too long are put off."""
    slowdown = Slowdown()
    for _ in range(5):
        slowdown.failed(ANNA, "anna", 0.0)
    waits = [slowdown.wait(ANNA, 0.0) for _ in range(4)]
    assert waits == [16.0, None, None, None]


def test_a_success_and_time_forget_failures() -> None:
    """Each alone."""
    slowdown = Slowdown()
    slowdown.failed(ANNA, "anna", 0.0)
    slowdown.succeeded(ANNA, "anna")
    assert slowdown.wait(ANNA, 0.0) == 0.0
    slowdown.failed(ANNA, "anna", 0.0)
    assert slowdown.wait(ANNA, HOUR) == 0.0


def test_of_too_many_clients_the_oldest_are_forgotten() -> None:
    """The table does not grow."""
    slowdown = Slowdown()
    for number in range(5000):
        slowdown.failed(number.to_bytes(4), "anna", float(number) / 1000)
    assert slowdown.wait((0).to_bytes(4), 5.0) == 0.0
    assert slowdown.wait((4999).to_bytes(4), 5.0) != 0.0


def test_a_password_of_ones_own_does_not_help_to_guess_anothers() -> None:
    """Failures for several users stay, whoever is right in between."""
    slowdown = Slowdown()
    slowdown.failed(ANNA, "bert", 0.0)
    slowdown.succeeded(ANNA, "anna")
    assert slowdown.wait(ANNA, 0.0) == 1.0
    slowdown.failed(ANNA, "anna", 1.0)
    slowdown.succeeded(ANNA, "anna")
    assert slowdown.wait(ANNA, 1.0) != 0.0
