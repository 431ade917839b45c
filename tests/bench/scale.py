"""The scale benchmark: what a large queue of mail that cannot leave costs the mail that can.

First 100,000 messages wait for dead destinations, beside a relay with an empty queue; then 20,000 are due
at once, for a destination that refuses connections and for one that accepts them and never greets. Each figure is
printed with its bound. It needs the smtp-source and smtp-sink of Postfix, and some gigabytes below the system's
folder for temporary files, which should be on a journaled file system.
"""

import os
import resource
import smtplib
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.bench.backlog import fill_fresh, fill_waiting
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.postfix import Sink, available, sink, source
from tests.world.relay import Relay, relay

WAITING = 100_000
DEAD_DOMAINS = 1000
ROUNDS = 3
# Rates differ most between runs.
RATE_ROUNDS = 5
MESSAGES = 4000
SESSIONS = 20
OCTETS = 4096
# Once as long as it takes until the delivery process looks into cur/ again.
IDLE_SECONDS = 30.0
DUE = 20_000
PROBE_SECONDS = 12.0

_HEALTHY = "example.test. 60 IN MX 10 mx.example.test.\nmx.example.test. 60 IN A 127.0.0.2\n"
_MAIL = "Subject: A fresh one\r\n\r\nHello\r\n"
# What `queue list` has to read, and nothing else.
_LOOP = """
import os, sys
cur, journal = sys.argv[1] + "/cur/", sys.argv[1] + "/journal/"
for name in os.listdir(cur):
    for path in (cur + name, journal + name[:17]):
        with open(path, "rb") as file:
            file.read(4096)
"""


def main() -> int:
    """Measure and print."""
    if not available():
        print("smtp-source and smtp-sink are missing; Debian's package postfix has them", file=sys.stderr)
        return 1
    _many_that_wait()
    _many_that_are_due("refuses", is_listening=False)
    _many_that_are_due("never greets", is_listening=True)
    return 0


# Many that wait.


def _many_that_wait() -> None:
    domains = [f"dead{number}.test" for number in range(DEAD_DOMAINS)]
    dead = "".join(f"{domain}. 60 IN MX 10 mx.dead.test.\n" for domain in domains)
    zone = f"{_HEALTHY}{dead}mx.dead.test. 60 IN A 127.0.0.9\n"
    with sink(("127.0.0.2", 0)) as exchanger, NameServer(zone) as names, ExitStack() as stack:
        empty, full = (stack.enter_context(_relay(exchanger.address[1], names)) for _ in range(2))
        full.start()
        full.stop()
        fill_waiting(full.spool, WAITING, domains)
        print(f"{WAITING} messages wait for {DEAD_DOMAINS} dead destinations")
        started = _start_to_delivery(full, exchanger)
        _say("start to the first delivery of a fresh message", f"{started:.2f} s", "2 s")
        _memory("at rest", full)
        delivery = psutil.Process(full.pids("delivery")[0])
        before, all_before = _cpu([delivery]), _cpu(full.processes())
        time.sleep(IDLE_SECONDS)
        idle, all_idle = _cpu([delivery]) - before, _cpu(full.processes()) - all_before
        _say("idle, delivery process", f"{100 * idle / IDLE_SECONDS:.2f} % of a core", "1 %")
        _say("idle, all processes", f"{100 * all_idle / IDLE_SECONDS:.2f} % of a core")
        _listing(full)
        empty.start()
        _rates(empty, full, exchanger)
        _memory("after the load", full)
        for each in (empty, full):
            each.stop()


def _start_to_delivery(full: Relay, exchanger: Sink) -> float:
    """From the command to the moment in which the exchanger has the message that is sent when it returns."""
    goal = exchanger.count + 1
    began = time.monotonic()
    started = full.command("start")
    assert started.returncode == 0, started.stderr
    with smtplib.SMTP("127.0.0.1", _configured_port(full), "source.test") as client:
        client.sendmail("a@source.test", ["b@example.test"], _MAIL)
        exchanger.wait_for(goal)
    took = time.monotonic() - began
    full.port = _configured_port(full)
    return took


def _listing(full: Relay) -> None:
    """`queue list` and the bare loop in turn, once without being counted.

    All they read is in memory, so processor time tells; a listing gives way to whatever else runs.
    """
    pairs = [(_used(lambda: _list(full)), _used(lambda: _read_all(full.spool))) for _ in range(ROUNDS + 1)][1:]
    ratio = statistics.median(listing / loop for listing, loop in pairs)
    listing, loop = (statistics.median(each) for each in zip(*pairs, strict=True))
    _say(
        "queue list",
        f"{listing:.2f} s of processor time, {ratio:.2f} of a loop that reads the files ({loop:.2f} s)",
        "2.00",
    )
    _say("status", f"{statistics.median(_seconds(full.status) for _ in range(ROUNDS)):.2f} s")


def _read_all(spool: Path) -> None:
    subprocess.run([sys.executable, "-I", "-c", _LOOP, str(spool)], check=True)


def _list(full: Relay) -> None:
    said = full.command("queue", "list")
    assert said.returncode == 0, said.stderr
    assert said.stdout.endswith(f"{WAITING} messages\n"), said.stdout[-200:]


def _rates(empty: Relay, full: Relay, exchanger: Sink) -> None:
    """Fresh mail end to end: with an empty queue, with the full one, and while that is listed, in rotation."""
    kinds = {
        "an empty queue": lambda: _rate(empty, exchanger),
        "the full one": lambda: _rate(full, exchanger),
        "the full one, being listed": lambda: _rate_listed(full, exchanger),
    }
    rates: dict[str, list[float]] = {what: [] for what in kinds}
    for number in range(RATE_ROUNDS):
        # Each comes first once, since it may matter.
        for what in [*kinds, *kinds][number % len(kinds) :][: len(kinds)]:
            rates[what].append(kinds[what]())
        print(f"  round {number + 1}: " + ", ".join(f"{each[-1]:.0f}/s" for each in rates.values()), flush=True)
    base = rates["an empty queue"]
    for what, each in rates.items():
        shares = [rate / other for rate, other in zip(each, base, strict=True)]
        bound = "" if each is base else "0.90 at least"
        _say(
            f"fresh mail with {what}",
            f"{statistics.median(each):.0f}/s, {statistics.median(shares):.2f} of an empty queue",
            bound,
        )


def _rate(running: Relay, exchanger: Sink) -> float:
    """Messages a second until the exchanger has the last one."""
    goal = exchanger.count + MESSAGES
    began = time.monotonic()
    sent = source(
        "127.0.0.1", running.port, SESSIONS, MESSAGES, OCTETS, "-f", "a@source.test", "-t", "b@example.test"
    )
    assert sent.process.returncode == 0, sent.process.stderr
    exchanger.wait_for(goal, 120)
    took = time.monotonic() - began
    running.wait(lambda: not running.files("tmp", "new"), "end of the fresh mail")
    return MESSAGES / took


def _rate_listed(running: Relay, exchanger: Sink) -> float:
    """The same, while the queue is listed again and again."""
    stop = threading.Event()

    def go_on() -> None:
        # To nowhere: what reads 13 MB of rows here would be a part of the figure.
        words = [sys.executable, "-I", "-m", "relayd", "queue", "list", "-c", str(running.config)]
        while not stop.is_set():
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        return _rate(running, exchanger)
    finally:
        stop.set()
        thread.join()


# Many that are due.


def _many_that_are_due(what: str, *, is_listening: bool) -> None:
    """Fresh mail, one message after the other, while all the others come to their turn at once."""
    zone = f"{_HEALTHY}dead.test. 60 IN MX 10 mx.dead.test.\nmx.dead.test. 60 IN A 127.0.0.9\n"
    port = free_port("127.0.0.2", "127.0.0.9")
    with ExitStack() as stack:
        exchanger = stack.enter_context(Exchanger("127.0.0.2", port))
        names = stack.enter_context(NameServer(zone))
        running = stack.enter_context(_relay(port, names))
        if is_listening:
            # The kernel accepts, and nobody ever says a word.
            hole = stack.enter_context(socket.socket())
            hole.bind(("127.0.0.9", port))
            hole.listen(128)
        running.start()
        aside = running.folder / "aside"
        aside.mkdir()
        fill_fresh(aside, DUE, "dead.test")
        with smtplib.SMTP("127.0.0.1", running.port, "source.test") as client:
            _leaves(client, exchanger)
            for path in list(aside.iterdir()):
                os.rename(path, running.spool / "new" / path.name)
            deadline = time.monotonic() + PROBE_SECONDS
            waits = []
            while time.monotonic() < deadline:
                waits.append(_leaves(client, exchanger))
        _say(
            f"{DUE} messages due for a destination that {what}",
            f"{len(waits)} fresh ones left within {max(waits):.2f} s, median {statistics.median(waits):.3f} s",
            "1 s",
        )
        _memory("then", running)
        running.stop()


def _leaves(client: smtplib.SMTP, exchanger: Exchanger) -> float:
    """Send one message to the healthy destination: seconds from the 250 to its arrival there."""
    goal = len(exchanger.messages) + 1
    client.sendmail("a@source.test", ["b@example.test"], _MAIL)
    began = time.monotonic()
    exchanger.wait_for(goal, 60)
    return time.monotonic() - began


# What all use.


@contextmanager
def _relay(port: int, names: NameServer) -> Iterator[Relay]:
    """A relay that is not started, on a port of its own that is known before."""
    listener = f'[[listener]]\naddress = "127.0.0.1"\nport = {free_port()}\n'
    with relay(
        listener,
        delivery=f"port = {port}\nprivate_exchangers = true",
        dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
    ) as made:
        yield made


def _configured_port(running: Relay) -> int:
    return int(running.config.read_text().partition("\nport = ")[2].partition("\n")[0])


def _cpu(processes: list[psutil.Process]) -> float:
    """Seconds of processor time so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _used(work: Callable[[], object]) -> float:
    """Seconds of processor time of the programs that are run meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _memory(when: str, running: Relay) -> None:
    found = psutil.Process(running.pids("delivery")[0]).memory_full_info()
    _say(f"delivery process {when}", f"{found.pss / 1e6:.0f} MB (PSS), {found.rss / 1e6:.0f} MB (RSS)", "120 MB")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _say(what: str, found: str, bound: str = "") -> None:
    print(f"{what}: {found}" + (f"; bound: {bound}" if bound else ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
