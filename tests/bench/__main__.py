"""A small benchmark: the memory of the idle whole, and the processor time and rate of a load.

Load by Postfix's smtp-source, sink by smtp-sink, the relay as it is started by an operator. Figures of one run on
one machine; compare only what was measured in the same run. With the word "scale" it is the other benchmark, see
scale.py.
"""

import statistics
import sys
import time
from dataclasses import dataclass

import psutil

from tests.bench import scale
from tests.world.names import NameServer
from tests.world.postfix import available, sink, source
from tests.world.relay import Relay, relay

ROUNDS = 3
MESSAGES = 2000
SESSIONS = 20
OCTETS = 4096
ZONE = "example.test. 60 IN MX 10 mx.example.test.\nmx.example.test. 60 IN A 127.0.0.2"


@dataclass(frozen=True)
class Round:
    """Messages a second until the client's last 250, and until the sink had the last one; CPU µs a message."""

    accepted: float
    delivered: float
    cpu_us: float


def main(words: list[str]) -> int:
    """Measure and print."""
    if words not in ([], ["scale"]):
        print("usage: bin/bench [scale]", file=sys.stderr)
        return 2
    if words:
        return scale.main()
    if not available():
        print("smtp-source and smtp-sink are missing; Debian's package postfix has them", file=sys.stderr)
        return 1
    with sink(("127.0.0.2", 0)) as exchanger, NameServer(ZONE) as names:
        settings = f"port = {exchanger.address[1]}\nprivate_exchangers = true"
        with relay(delivery=settings, dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]') as running:
            running.start()
            print(f"idle: {_pss(running) / 1e6:.1f} MB (PSS of master, 2 workers and delivery)")
            rounds = []
            for number in range(1, ROUNDS + 1):
                rounds.append(_measure(running, exchanger.count + MESSAGES, exchanger.wait_for))
                print(f"round {number}: {_shown(rounds[-1])}")
            median = Round(
                statistics.median(each.accepted for each in rounds),
                statistics.median(each.delivered for each in rounds),
                statistics.median(each.cpu_us for each in rounds),
            )
            print(
                f"median of {ROUNDS} with {MESSAGES} messages of {OCTETS} octets over {SESSIONS} sessions: "
                f"{_shown(median)}"
            )
            print(f"after the load: {_pss(running) / 1e6:.1f} MB")
            running.stop()
    return 0


def _measure(running: Relay, goal: int, wait_for: object) -> Round:
    assert callable(wait_for)
    before = _cpu(running)
    began = time.monotonic()
    sent = source(
        "127.0.0.1", running.port, SESSIONS, MESSAGES, OCTETS, "-f", "a@source.test", "-t", "b@example.test"
    )
    assert sent.process.returncode == 0, sent.process.stderr
    wait_for(goal, 120)
    took = time.monotonic() - began
    running.wait_until_empty()
    return Round(MESSAGES / sent.seconds, MESSAGES / took, (_cpu(running) - before) / MESSAGES * 1e6)


def _cpu(running: Relay) -> float:
    """Seconds of processor time of all processes so far."""
    return sum(sum(process.cpu_times()[:2]) for process in running.processes())


def _pss(running: Relay) -> int:
    return sum(int(psutil.Process(pid).memory_full_info().pss) for pid in running.pids())


def _shown(each: Round) -> str:
    return f"{each.accepted:.0f}/s accepted, {each.delivered:.0f}/s end to end, {each.cpu_us:.0f} µs CPU a message"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
