"""The canary: what a worker's session with itself shows, and that nothing of it stays."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
import uvloop

from relayd.base.sections import Listener
from relayd.receive.canary import CanaryError, rehearse
from relayd.receive.policy import Policy
from relayd.smtp.reply import Reply, reply
from relayd.spool.disk import Disk
from tests.receive.house import House
from tests.receive.live import LOOPS
from tests.world.authority import certify

PLAIN = Listener("127.0.0.1", 25, tls="off", auth="off")


def secured(folder: Path, extra: str = "") -> str:
    """Settings with a certificate and users."""
    papers = certify(folder, "relay.example.org")
    (folder / "users").write_text("")
    return (
        f'[tls]\ncertificate = "{papers.certificate}"\nkey = "{papers.key}"\n'
        f'[auth]\nusers = "{folder / "users"}"\n{extra}'
    )


def plays(house_of: dict[str, object], listeners: list[Listener], loop: str = "asyncio") -> House:
    """A rehearsal in a house of these settings; it raises what comes of it."""

    async def main() -> House:
        house = House(**house_of)  # type: ignore[arg-type]
        try:
            await rehearse(house.worker, listeners)
        finally:
            house.worker.end_threads(hanging=False)
        return house

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        return runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "listener",
    [
        PLAIN,
        Listener("127.0.0.1", 25),
        Listener("127.0.0.1", 465, tls="implicit"),
        Listener("127.0.0.1", 587, auth="required"),
        Listener("127.0.0.1", 465, tls="implicit", auth="required", proxy=True),
    ],
)
def test_each_kind_of_listener_is_tried(tmp_path: Path, loop: str, listener: Listener) -> None:
    """In the clear, with STARTTLS, in TLS from the start, with passwords only, behind a proxy."""
    house = plays({"folder": tmp_path, "settings": secured(tmp_path)}, [listener], loop)
    slot = house.post.slot
    assert (slot.get("sessions"), slot.get("tls_sessions"), slot.get("open_sessions")) == (0, 0, 0)
    assert house.tally.hand(1).sessions(b"\0" * 8) == 0
    assert house.files("tmp") == []
    log = tmp_path / "log"
    assert not log.exists() or log.read_text() == ""


def test_without_extensions_it_says_helo(tmp_path: Path) -> None:
    """As old clients would."""
    plays({"folder": tmp_path, "settings": "[session]\nextended = false"}, [PLAIN])


def test_a_certificate_on_a_listener_that_offers_none_is_left_alone(tmp_path: Path) -> None:
    """STARTTLS is not offered there."""
    plays({"folder": tmp_path, "settings": secured(tmp_path)}, [PLAIN])


def test_an_open_relay_refuses_nobody_but_the_canary(tmp_path: Path) -> None:
    """The configuration is allowed, and its rehearsal passes."""
    plays({"folder": tmp_path, "settings": '[relay]\nallow = ["0.0.0.0/0", "::/0"]\nopen = true'}, [PLAIN])


class Full(Disk):
    """No room is left."""

    def free(self, path: str) -> tuple[int, int]:
        return 0, 0


def test_a_full_disk_is_no_fault_of_the_configuration(tmp_path: Path) -> None:
    """Clients hear 452, and the relay can be reloaded."""
    house = plays({"folder": tmp_path, "disk": Full(), "settings": '[spool]\nminimum_free = "1 GB"'}, [PLAIN])
    assert house.post.slot.get("sessions") == 0


@dataclasses.dataclass(frozen=True, slots=True)
class Welcoming(Policy):
    """It takes everything."""

    def route(self, address: object, reached: object, *, may_relay: bool) -> object:  # type: ignore[override]
        return address


@dataclasses.dataclass(frozen=True, slots=True)
class Broken(Policy):
    """It has a bug."""

    def route(self, address: object, reached: object, *, may_relay: bool) -> Reply:
        raise ZeroDivisionError


@dataclasses.dataclass(frozen=True, slots=True)
class Busy(Policy):
    """It refuses what it should not."""

    def route(self, address: object, reached: object, *, may_relay: bool) -> Reply:
        return reply(451, "4.3.0", "later")


@pytest.mark.parametrize(
    ("policy", "why", "bugs"),
    [
        (Welcoming, "RCPT TO:<nobody@canary.invalid> was answered 250 2.1.5 Ok", 0),
        (Busy, "RCPT TO:<nobody@canary.invalid> was answered 451 4.3.0 later", 0),
        (Broken, "RCPT TO:<nobody@canary.invalid> was answered 421", 1),
    ],
)
def test_what_a_worker_should_not_say_fails_it(tmp_path: Path, policy: type[Policy], why: str, bugs: int) -> None:
    """With the command and the reply; a bug is counted and written down as any other."""

    async def main() -> House:
        house = House(tmp_path)
        kept = house.worker.policy
        house.worker.policy = policy(kept.allow, kept.postmaster, kept.own_names, kept.own_addresses, kept.routes)
        try:
            with pytest.raises(CanaryError) as failed:
                await rehearse(house.worker, [PLAIN])
        finally:
            house.worker.end_threads(hanging=False)
        assert why in str(failed.value)
        return house

    house = asyncio.run(main())
    assert house.post.slot.get("bugs") == bugs
    assert len(house.events("bug")) == bugs if bugs else True
