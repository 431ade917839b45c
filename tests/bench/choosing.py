"""The choosing benchmark: what is gained by the choice of the exchanger with the lowest latency.

First four exchangers of one preference that greet after 5, 20, 50 and 200 ms, beside a choice at random, which is
what others do; then the fastest becomes the slowest. At last one of an exchanger's two addresses is a black hole.
Delivery is relayd's own from the queue's side on; each figure is printed with its bound.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies, Measure
from tests.bench.figures import percentile
from tests.bench.table import aligned
from tests.deliver.town import Town, left, letters, surroundings
from tests.world.blackhole import BlackHole

DELAYS = (0.005, 0.020, 0.050, 0.200)
MESSAGES = 2000
EARLY = 50
CHANGED = 500
ADAPTED = 100
SLOWEST = 0.4
HOLED = 300
# After so many the circuit is open.
SETTLED = 20

_ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 6))
_FOUR = "".join(
    f"example.net. 600 IN MX 10 mx{number}.example.net.\nmx{number}.example.net. 600 IN A {address}\n"
    for number, address in enumerate(_ADDRESSES)
)
_TWO_ADDRESSES = "example.net. 600 IN MX 10 mx.example.net.\n" + "".join(
    f"mx.example.net. 600 IN A {address}\n" for address in _ADDRESSES[:2]
)


class Indifferent(Latencies):
    """Every exchanger is as good as any other: the choice is by lot, as RFC 5321 section 5.1 asks for at least."""

    def of(self, candidate: Candidate) -> Measure:
        """The same for all."""
        return Measure(latency_s=0.01, samples=1, greeted_at=float("inf"))


@dataclass(frozen=True)
class Flow:
    """What became of some messages: the exchanger and the seconds of each, in order, and how long all took."""

    exchangers: tuple[str, ...]
    seconds: tuple[float, ...]
    took: float

    @property
    def ms(self) -> float:
        """Milliseconds for each message."""
        return 1000 * self.took / len(self.exchangers)


def main() -> int:
    """Measure and print."""
    rows = [["case", "found", "bound"]]
    with TemporaryDirectory() as folder:
        # Who keeps a connection hears its greeting once.
        for name, transactions, bound in (("one connection a message", 1, "> 1"), ("kept connections", 100, "")):
            rows += uvloop.run(_four(Path(folder), name, transactions, bound))
        rows += uvloop.run(_black_hole(Path(folder)))
    print(aligned(rows, words=1))
    return 0


# Four exchangers.


async def _four(folder: Path, name: str, transactions: int, bound: str) -> list[list[str]]:
    with surroundings(folder, _FOUR, *_ADDRESSES) as around:
        for exchanger, delay in zip(around.exchangers, DELAYS, strict=True):
            exchanger.greeting_delay = delay
        town = around.town("connections_per_destination = 4", transactions=transactions)
        measured = await _flow(town, MESSAGES)
        share = 100 * Counter(measured.exchangers[EARLY:])["mx0.example.net"] / (MESSAGES - EARLY)

        def change() -> None:
            around.exchangers[0].greeting_delay = SLOWEST

        changed = (await _flow(town, 2 * CHANGED, change)).exchangers[CHANGED:]
        late = Counter(changed[ADAPTED:])["mx0.example.net"]
        around.exchangers[0].greeting_delay = DELAYS[0]
        town.means = replace(town.means, ways=replace(town.ways, latencies=Indifferent()))
        lot = await _flow(town, MESSAGES // 2)
    return [
        [f"{name}: through the fastest, after the first {EARLY}", f"{share:.1f} %", "≥ 95 %"],
        [f"{name}: time a message, 4 at once", f"{measured.ms:.2f} ms", ""],
        [f"{name}: the same by lot", f"{lot.ms:.2f} ms", ""],
        [f"{name}: by lot beside measured", f"{lot.ms / measured.ms:.1f} times", bound],
        [
            f"{name}: the fastest is the slowest: through it, of the first {ADAPTED}",
            str(Counter(changed[:ADAPTED])["mx0.example.net"]),
            "",
        ],
        [f"{name}: and of the {CHANGED - ADAPTED} after", str(late), f"≤ {(CHANGED - ADAPTED) // 50}"],
    ]


async def _flow(town: Town, count: int, half_way: Callable[[], None] = lambda: None) -> Flow:
    """So many messages that wait all at once; something may happen when half of them are delivered."""
    before = len(town.reports)
    destination = town.destination()
    began = time.monotonic()
    for each in letters(count):
        destination.add(each)
    await town.reported(before + count // 2)
    half_way()
    await town.reported(before + count)
    took = time.monotonic() - began
    await left(town, destination)
    found = town.reports[before:]
    assert all(outcome.kind.is_delivery for _, outcomes, _ in found for outcome in outcomes), town.replies()[-1]
    return Flow(tuple(via.exchanger for _, _, via in found), (), took)


# One of two addresses.


async def _black_hole(folder: Path) -> list[list[str]]:
    with surroundings(folder, _TWO_ADDRESSES, *_ADDRESSES[:2]) as around:
        without = await _one_by_one(around.town(transactions=1), HOLED)
        around.exchangers[0].stop()
        with BlackHole(_ADDRESSES[0], around.port):
            holed = await _one_by_one(around.town(transactions=1), HOLED)
    settled = holed.seconds[SETTLED:]
    return [
        ["one address of two is a black hole: median delay", f"{_ms(holed.seconds, 50)} ms", "< 400 ms"],
        ["… the first messages", ", ".join(f"{1000 * each:.0f}" for each in holed.seconds[:4]) + " ms", ""],
        [f"… median after the first {SETTLED}", f"{_ms(settled, 50)} ms", ""],
        ["… 99th percentile after these", f"{_ms(settled, 99)} ms", ""],
        ["… median without a black hole", f"{_ms(without.seconds, 50)} ms", ""],
        [
            "… with beside without, medians",
            f"{statistics.median(settled) / statistics.median(without.seconds):.2f} times",
            "about 1",
        ],
    ]


async def _one_by_one(town: Town, count: int) -> Flow:
    """So many messages, each when the one before is delivered."""
    destination = town.destination()
    seconds = []
    began = time.monotonic()
    for number, each in enumerate(letters(count), start=1):
        start = time.monotonic()
        destination.add(each)
        await town.reported(number)
        seconds.append(time.monotonic() - start)
    took = time.monotonic() - began
    await left(town, destination)
    return Flow(tuple(via.exchanger for _, _, via in town.reports), tuple(seconds), took)


def _ms(seconds: tuple[float, ...], percent: float) -> str:
    return f"{1000 * percentile(seconds, percent):.2f}"
