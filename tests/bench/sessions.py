"""The sessions benchmark: what ten thousand open sessions cost, and what those notice that do something.

All come from addresses of their own on loopback. A hundred of them send mail while others ask for nothing but a
reply; the same is asked of a server that has nothing else to do. Then sessions in TLS, for their memory alone.
Each figure is printed with its bound. It needs the smtp-sink of Postfix, some 12,000 descriptors for itself, and
as many for each worker.
"""

import heapq
import os
import random
import resource
import select
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.world.authority import Papers, certify
from tests.world.names import NameServer
from tests.world.postfix import available, sink
from tests.world.relay import Relay, relay

SESSIONS = 10_000
TLS_SESSIONS = 5000
SENDERS = 100
# Of each sender, one a second; as many again as fast as it can.
MESSAGES = 8
OCTETS = 4096
NOOPS = 3000
# A session may not ask for more than a hundred in a row without mail, in all rounds together.
NOOPS_A_SESSION = 30
# Long enough that the asking is not itself the load.
NOOP_EVERY_SECONDS = 0.0025
MOST_PSS = 120e6
MOST_TLS_PSS = 200e6
MOST_SLOWER = 10.0
_PATIENCE_SECONDS = 60.0
# Beside the one that is greeted, so many connections wait in the kernel.
_AT_ONCE = 200

_ZONE = "example.test. 60 IN MX 10 mx.example.test.\nmx.example.test. 60 IN A 127.0.0.2"
_NOBODY = "nobody" if os.geteuid() == 0 else ""


@dataclass(frozen=True)
class Waits:
    """How long replies took, in seconds."""

    median: float
    p99: float

    def __str__(self) -> str:
        return f"median {self.median * 1e6:.0f} µs, p99 {self.p99 * 1e6:.0f} µs"


def main() -> int:
    """Measure and print; 1 when a bound does not hold."""
    if not available():
        print("smtp-sink is missing; Debian's package postfix has it", file=sys.stderr)
        return 1
    _raise_limit()
    held = [_plain(), _in_tls()]
    return 0 if all(held) else 1


# Plain sessions.


def _plain() -> bool:
    with sink(("127.0.0.2", 0)) as exchanger, NameServer(_ZONE) as names, ExitStack() as stack:
        running = stack.enter_context(
            relay(
                delivery=f"port = {exchanger.address[1]}\nprivate_exchangers = true",
                dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            )
        )
        running.start()
        idle = _noops([_opened(running.port, 1, 250 + number)[0] for number in range(NOOPS // NOOPS_A_SESSION)])
        print(f"NOOP, nothing else to do: {idle}")
        before = _pss(running)
        began = time.monotonic()
        sessions = _opened(running.port, SESSIONS, 1)
        took = time.monotonic() - began
        full = _pss(running)
        print(f"{len(sessions)} sessions open and greeted in {took:.1f} s, by workers: {_by_worker(running)}")
        print(f"PSS of all processes: {before / 1e6:.1f} MB before, {full / 1e6:.1f} MB with them")
        print(f"memory per idle plain session: {(full - before) / SESSIONS / 1024:.2f} KiB")
        alone = _noops(_some(sessions[SENDERS:]))
        print(f"NOOP, {SESSIONS} sessions open: {alone}")
        accepted = 0
        with _senders(sessions[:SENDERS], 1.0) as result:
            loaded = _noops(_some(sessions[SENDERS:]))
            accepted += int(os.read(result, 100))
        with _senders(sessions[:SENDERS], 0.0) as result:
            flooded = _noops(_some(sessions[SENDERS:]))
            accepted += int(os.read(result, 100))
        exchanger.wait_for(accepted, _PATIENCE_SECONDS)
        running.wait_until_empty()
        answered = sum(_noop(each) > 0 for each in sessions)
        peak = _pss(running)
        print(f"NOOP, {SENDERS} of them sending {OCTETS} octets a second: {loaded}")
        print(f"NOOP, {SENDERS} of them sending as fast as they can at first: {flooded}")
        print(f"accepted {accepted}, delivered {exchanger.count}, sessions that still answer: {answered}")
        for each in sessions:
            each.close()
        running.stop()
        return all(
            [
                _bound("PSS with all sessions", full / 1e6, MOST_PSS / 1e6, "MB"),
                _bound("PSS after the mail", peak / 1e6, MOST_PSS / 1e6, "MB"),
                _bound("NOOP p99 with all sessions open", alone.p99 / idle.p99, MOST_SLOWER, "times idle"),
                _bound("NOOP p99 while mail is sent", loaded.p99 / idle.p99, MOST_SLOWER, "times idle"),
                _bound("messages lost", 2 * SENDERS * MESSAGES - exchanger.count, 0, ""),
                _bound("sessions that do not answer", SESSIONS - answered, 0, ""),
            ]
        )


# Sessions in TLS.


def _in_tls() -> bool:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        papers = _certified(Path(folder))
        running = stack.enter_context(relay(tls=f'certificate = "{papers.certificate}"\nkey = "{papers.key}"'))
        running.start()
        before = _pss(running)
        context = ssl.create_default_context(cafile=papers.authority)
        context.check_hostname = False
        began = time.monotonic()
        sessions = [_in_session_of_tls(each, context) for each in _opened(running.port, TLS_SESSIONS, 1)]
        took = time.monotonic() - began
        full = _pss(running)
        answered = sum(_noop(each) > 0 for each in sessions)
        print(f"{TLS_SESSIONS} sessions in TLS in {took:.1f} s, by workers: {_by_worker(running)}")
        print(f"PSS of all processes: {before / 1e6:.1f} MB before, {full / 1e6:.1f} MB with them")
        print(f"memory per idle session in TLS: {(full - before) / TLS_SESSIONS / 1024:.2f} KiB")
        for each in sessions:
            each.close()
        running.stop()
        return all(
            [
                _bound("PSS with all sessions in TLS", full / 1e6, MOST_TLS_PSS / 1e6, "MB"),
                _bound("sessions in TLS that do not answer", TLS_SESSIONS - answered, 0, ""),
            ]
        )


def _certified(folder: Path) -> Papers:
    papers = certify(folder, "relay.example.org", "127.0.0.1")
    if _NOBODY:
        # The workers read it as the user that they run as.
        papers.key.chmod(0o644)
    return papers


def _in_session_of_tls(session: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    session.sendall(b"EHLO client.example\r\n")
    while b"250 " not in session.recv(4096):
        pass
    session.sendall(b"STARTTLS\r\n")
    said = session.recv(4096)
    assert said.startswith(b"220 "), said
    return context.wrap_socket(session)


# What clients do.


def _opened(port: int, count: int, network: int) -> list[socket.socket]:
    """So many sessions that have been greeted, each from an address of its own: 127.NETWORK.x.y."""
    sessions: list[socket.socket] = []
    while len(sessions) < count:
        batch = range(len(sessions), min(len(sessions) + _AT_ONCE, count))
        made = [_connected(port, f"127.{network % 256}.{number >> 8}.{number & 255}") for number in batch]
        for each in made:
            said = each.recv(4096)
            assert said.startswith(b"220 "), said
        sessions += made
    return sessions


def _connected(port: int, address: str) -> socket.socket:
    session = socket.socket()
    session.settimeout(_PATIENCE_SECONDS)
    session.bind((address, 0))
    session.connect(("127.0.0.1", port))
    return session


def _some(sessions: Sequence[socket.socket]) -> list[socket.socket]:
    """As many as are asked."""
    return random.Random(1).sample(sessions, NOOPS // NOOPS_A_SESSION)


def _noops(sessions: list[socket.socket]) -> Waits:
    """One after the other, on one session after the other."""
    waits = []
    for session in sessions * NOOPS_A_SESSION:
        waits.append(_noop(session))
        time.sleep(NOOP_EVERY_SECONDS)
    waits.sort()
    return Waits(statistics.median(waits), waits[len(waits) * 99 // 100])


def _noop(session: socket.socket) -> float:
    """How long its reply took."""
    began = time.monotonic()
    session.sendall(b"NOOP\r\n")
    said = session.recv(4096)
    took = time.monotonic() - began
    assert said == b"250 2.0.0 Ok\r\n", said
    return took


@contextmanager
def _senders(sessions: Sequence[socket.socket], every: float) -> Iterator[int]:
    """While the block runs, a process of its own sends mail on the sessions.

    Each has a message in `every` seconds; when all are done, the descriptor says how many were accepted.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(_send(sessions, every)).encode())
        finally:
            os._exit(0)
    try:
        yield reading
    finally:
        os.waitpid(pid, 0)
        os.close(writing)


def _send(sessions: Sequence[socket.socket], every: float) -> int:
    """Mail on all of them at once, each waiting for its replies; how many 250 came at the end of data."""
    body = b"Subject: One of many\r\n\r\n" + (b"x" * 62 + b"\r\n") * (OCTETS // 64)
    steps = [b"MAIL FROM:<a@source.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n", body + b".\r\n"]
    by_number = {each.fileno(): each for each in sessions}
    turns = {number: iter([b"HELO client.example\r\n", *steps * MESSAGES]) for number in by_number}
    # When each begins its next message, the first ones spread over the first interval.
    due = [(time.monotonic() + every * place / len(sessions), number) for place, number in enumerate(turns)]
    poll = select.poll()
    for number in turns:
        poll.register(number, select.POLLIN)
    accepted = 0
    left = dict.fromkeys(turns, MESSAGES)
    while left:
        while due and due[0][0] <= time.monotonic():
            _, number = heapq.heappop(due)
            by_number[number].sendall(next(turns[number]))
        patience = due[0][0] - time.monotonic() if due else _PATIENCE_SECONDS
        for number, _ in poll.poll(max(0.0, patience) * 1000):
            said = by_number[number].recv(4096)
            assert said[:1] in (b"2", b"3"), said
            if b"queued as" not in said:
                by_number[number].sendall(next(turns[number]))
                continue
            accepted += 1
            left[number] -= 1
            if left[number]:
                heapq.heappush(due, (time.monotonic() + every, number))
            else:
                poll.unregister(number)
                del left[number]
    return accepted


# What it costs.


def _pss(running: Relay) -> int:
    return sum(int(psutil.Process(pid).memory_full_info().pss) for pid in running.pids())


def _by_worker(running: Relay) -> str:
    return ", ".join(str(psutil.Process(pid).num_fds()) for pid in running.pids("worker")) + " descriptors"


def _raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _bound(what: str, value: float, most: float, unit: str) -> bool:
    holds = value <= most
    print(f"{what}: {value:.1f} {unit}, bound {most:.1f}: {'holds' if holds else 'DOES NOT HOLD'}")
    return holds
