"""SIGKILL under load: whatever process dies at whatever moment, no acknowledged message is lost.

The client notes each ID that a 250 named; the exchanger notes each message. Lost and duplicated are counted and
printed; a copy may only arise where a connection or a record was cut between the final dot and its answer.
"""

import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import Relay, relay

ZONE = "example.test. 60 IN MX 10 mx.example.test.\nmx.example.test. 60 IN A 127.0.0.2"
SESSIONS = 8
ROUNDS = 6
_MARK = "X-Number: "


class Client:
    """Sessions that send without end, each message with a number; `acknowledged` are those that got their 250."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: set[int] = set()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(SESSIONS)]

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send while the context lasts."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(30)

    def wait_for(self, more: int, timeout: float = 20.0) -> None:
        """Until so many more are acknowledged."""
        goal = len(self.acknowledged) + more
        deadline = time.monotonic() + timeout
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, "the relay takes no mail"
            time.sleep(0.01)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except OSError:
                # The worker died, or nobody listens yet: as an application would, again.
                self._stop.wait(0.05)

    def _session(self) -> None:
        with (
            socket.create_connection(("127.0.0.1", self._port), 10) as connection,
            connection.makefile("rb") as lines,
        ):

            def says(text: str) -> bytes:
                connection.sendall(text.encode())
                reply = lines.readline()
                if reply[:1] not in b"23" or not reply:
                    raise OSError(f"the relay said {reply!r}")
                return reply

            says("")
            says("HELO client.example.org\r\n")
            while not self._stop.is_set():
                number = next(self._numbers)
                says("MAIL FROM:<alice@example.org>\r\n")
                says("RCPT TO:<bob@example.test>\r\n")
                says("DATA\r\n")
                says(f"{_MARK}{number}\r\n\r\n{'x' * 2000}\r\n.\r\n")
                with self._lock:
                    self.acknowledged.add(number)


def numbers(exchanger: Exchanger) -> Counter[int]:
    """How often each number arrived."""
    return Counter(
        int(message.data.partition(_MARK.encode())[2].split(b"\r\n", 1)[0]) for message in exchanger.messages
    )


def report(role: str, client: Client, exchanger: Exchanger) -> tuple[int, int]:
    """Print what became of the mail; give lost and duplicated."""
    arrived = numbers(exchanger)
    lost = client.acknowledged - set(arrived)
    duplicated = sum(1 for count in arrived.values() if count > 1)
    print(
        f"\nkill -9 {role}: {ROUNDS} kills, {len(client.acknowledged)} acknowledged, {len(arrived)} arrived, "
        f"{len(lost)} lost, {duplicated} duplicated"
    )
    return len(lost), duplicated


@contextmanager
def loaded() -> Iterator[tuple[Relay, Client, Exchanger]]:
    """A relay under load, which is drained at the end."""
    port, exchanger_port = free_port(), free_port("127.0.0.2")
    with (
        NameServer(ZONE) as names,
        Exchanger("127.0.0.2", exchanger_port) as exchanger,
        relay(
            f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n',
            delivery=f'port = {exchanger_port}\nprivate_exchangers = true\nretry = ["1s"]',
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            process='stop_timeout = "5s"',
        ) as running,
    ):
        running.start()
        client = Client(port)
        with client.sending():
            yield running, client, exchanger
        running.wait_until_empty(60)
        running.stop()


@pytest.mark.long
@pytest.mark.parametrize("role", ["worker", "delivery", "master"])
def test_no_acknowledged_message_is_lost_by_a_kill(role: str) -> None:
    """Kill under load and start again, several times; then every message that got a 250 has arrived."""
    dice = random.Random(role)
    with loaded() as (running, client, exchanger):
        for _ in range(ROUNDS):
            client.wait_for(dice.randrange(20, 120))
            running.kill(role)
            if role == "master":
                running.start()
    lost, duplicated = report(role, client, exchanger)
    assert lost == 0
    # Only what was between the final dot and its record when the process died: a bounded number each time.
    assert duplicated <= ROUNDS * SESSIONS * 4
