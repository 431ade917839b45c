"""The subjects of a comparison: relayd as it is shipped, a private Postfix, and the two limits.

Each runs one round of a case at a time and gives its figures. A server is started anew for each case, so that its
memory says something about that case. A subject that does not do what it should raises; the message says what.
"""

import math
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import psutil

from tests.bench import floor
from tests.bench.backlog import fill_waiting
from tests.bench.cases import Case
from tests.bench.client import send
from tests.bench.counting import CountingSink, program
from tests.bench.family import Family, family
from tests.bench.figures import Figures, percentile
from tests.bench.ground import Ground
from tests.world.authority import Papers
from tests.world.relay import Relay, relay

_STEP = 0.01
_DEAD_DOMAINS = 1000


class Subject(Protocol):
    """What a round can be run of."""

    name: str

    def run(self, case: Case, timeout: float) -> Figures:
        """One round; its figures by name."""
        ...


class Server(Protocol):
    """A mail server that runs."""

    name: str
    port: int
    family: Family

    def is_empty(self) -> bool:
        """Whether no message is on its way through."""
        ...


@dataclass(slots=True)
class Relayd:
    """The relay, running."""

    relay: Relay
    port: int
    family: Family

    name = "relayd"

    def is_empty(self) -> bool:
        """Whether no message is on its way through; deferred ones stay."""
        return not self.relay.files("tmp", "new")


@contextmanager
def relayd(exchanger_port: int, names_port: int, papers: Papers | None, waiting: int) -> Iterator[Relayd]:
    """Start it, with so many deferred messages in its queue, and stop it at the end.

    What differs from the shipped configuration is what loopback needs, and that one client may send without end.
    """
    sections = {
        "relay": "messages_per_hour = 0\nrecipients_per_hour = 0",
        "session": "per_client = 0",
        "delivery": f"port = {exchanger_port}\nprivate_exchangers = true",
        "dns": f'nameservers = ["127.0.0.1:{names_port}"]',
    }
    if papers is not None:
        sections["tls"] = f'certificate = "{papers.certificate}"\nkey = "{papers.key}"'
    with family("relayd") as members, relay(**sections) as made:
        made.config.write_text(made.config.read_text().replace('format = "json"', 'format = "text"'))
        if waiting:
            made.start()
            made.stop()
            fill_waiting(made.spool, waiting, [f"dead{number}.test" for number in range(_DEAD_DOMAINS)])
        with members.birth():
            made.start()
        members.root = psutil.Process(made.pids("master")[0])
        yield Relayd(made, made.port, members)
        made.stop()


class Through:
    """A server with a sink behind it: what goes in is to come out."""

    def __init__(self, server: Server, exchanger: CountingSink, ground: Ground) -> None:
        self.name = server.name
        self.server = server
        self._exchanger = exchanger
        self._ground = ground

    def run(self, case: Case, timeout: float) -> Figures:
        """One round; it ends when the server has nothing left to do."""
        deadline = time.monotonic() + timeout
        goal = self._exchanger.count + case.messages
        cpu, flushes = self.server.family.cpu(), self._ground.flushes()
        began = time.monotonic()
        accepted, times = _load(self.server.port, case, timeout)
        try:
            delivered = self._exchanger.wait_for(goal, deadline - time.monotonic()) - began
        except TimeoutError as error:
            raise TimeoutError(f"{self.name}: {error}") from None
        while not self.server.is_empty():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{self.name}: the queue is not empty after {timeout:.0f} s")
            time.sleep(_STEP)
        figures = _rates(case, accepted, delivered)
        figures["cpu_us"] = (self.server.family.cpu() - cpu) / case.messages * 1e6
        now = self._ground.flushes()
        if flushes is not None and now is not None:
            figures["flushes"] = (now - flushes) / case.messages
        if case.is_timed:
            figures["p50_ms"] = statistics.median(times) * 1e3
            figures["p99_ms"] = percentile(times, 99) * 1e3
        return figures


class Direct:
    """smtp-source straight into smtp-sink: nothing can be faster than the load itself."""

    name = "source-sink"

    def __init__(self, exchanger: CountingSink) -> None:
        self._exchanger = exchanger

    def run(self, case: Case, timeout: float) -> Figures:
        """One round."""
        goal = self._exchanger.count + case.messages
        began = time.monotonic()
        accepted, _ = _load(self._exchanger.port, case, timeout, "127.0.0.2")
        delivered = self._exchanger.wait_for(goal, timeout) - began
        return _rates(case, accepted, delivered)


class Floor:
    """The bare durable write loop, in groups as large as there are sessions."""

    name = "floor"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def run(self, case: Case, timeout: float) -> Figures:
        """One round; what it wrote is taken away afterwards."""
        folder = self._ground.folder / "floor"
        flushes = self._ground.flushes()
        try:
            took = floor.run(folder, case.messages, case.sessions, case.octets, timeout)
        finally:
            now = self._ground.flushes()
            shutil.rmtree(folder, ignore_errors=True)
        figures = {"accepted": case.messages / took["seconds"], "cpu_us": took["cpu"] / case.messages * 1e6}
        if flushes is not None and now is not None:
            figures["flushes"] = (now - flushes) / case.messages
        return figures


def _rates(case: Case, accepted: float, delivered: float) -> Figures:
    # The sink is looked at every few milliseconds, so that it may seem to be before the client.
    delivered = max(accepted, delivered)
    return {
        "accepted": case.messages / accepted,
        "delivered": case.messages / delivered,
        "mb_s": case.messages * case.octets / delivered / 1e6,
    }


def _load(port: int, case: Case, timeout: float, host: str = "127.0.0.1") -> tuple[float, list[float]]:
    """Send the messages of a case: seconds until the last 250, and of each message where the client is ours."""
    if case.load is not None:
        return send(port, case.load, timeout)
    command = [program("smtp-source"), "-M", "source.test", "-f", "a@source.test", "-t", "b@example.test"]
    numbers = {"-s": case.sessions, "-m": case.messages, "-l": case.octets, "-r": case.recipients}
    command += [str(word) for pair in numbers.items() for word in pair]
    # -d: the next message over the same connection.
    command += ["-d"] if case.is_kept else []
    began = time.monotonic()
    done = subprocess.run(
        [*command, f"{host}:{port}"], check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout
    )
    took = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"smtp-source: {done.stderr.decode(errors='replace').strip()}")
    return took, [math.nan]
