"""What a relay has measured, over its end and its next start, and by `route`."""

import json
import smtplib
from typing import Any

from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import Relay, relay

ZONE = """
example.test. 60 IN MX 10 near.example.test.
example.test. 60 IN MX 10 far.example.test.
near.example.test. 60 IN A 127.0.0.2
far.example.test. 60 IN A 127.0.0.3
"""


def _order(running: Relay) -> list[dict[str, Any]]:
    said = running.command("route", "bob@example.test", "--json")
    assert said.returncode == 0, said.stderr
    order: list[dict[str, Any]] = json.loads(said.stdout)["order"]
    return order


def _send(running: Relay, count: int) -> list[str]:
    """Send messages one after the other; why the exchanger of each was chosen."""
    before = len(running.events("delivery.delivered"))
    for number in range(1, count + 1):
        with smtplib.SMTP("127.0.0.1", running.port) as client:
            client.sendmail("alice@example.org", ["bob@example.test"], "Subject: test\r\n\r\ntext\r\n")
        running.wait_for_events("delivery.delivered", before + number)
    return [each["chosen"] for each in running.events("delivery.delivered")[before:]]


def test_a_relay_that_is_started_again_knows_the_fastest_from_its_first_message_on() -> None:
    """The log says which and by how much; `route` knows it while nothing runs, as the relay's user and as root."""
    port = free_port("127.0.0.2", "127.0.0.3")
    with (
        Exchanger("127.0.0.2", port),
        Exchanger("127.0.0.3", port, greeting_delay=0.1) as far,
        NameServer(ZONE) as names,
        relay(
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            delivery=f"port = {port}\nprivate_exchangers = true",
        ) as running,
    ):
        running.start()
        _send(running, 3)
        running.stop()
        near, second = _order(running)
        assert (near["exchanger"], second["exchanger"]) == ("near.example.test", "far.example.test")
        assert near["greeting_ms"] < 100 <= second["greeting_ms"]
        met = far.connections
        running.start()
        chosen = _send(running, 1)
        assert "near.example.test (" in chosen[0]
        assert "greets faster than far.example.test (1" in chosen[0]
        assert far.connections == met
        running.stop()
