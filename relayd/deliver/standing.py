"""A standing: what is known of one exchanger with all its addresses, at one instant, put together to be compared.

Pure. An exchanger is as good as the best address of it that may be used.
"""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

import msgspec

from relayd.deliver.circuit import Circuit
from relayd.deliver.exchangers import Candidate
from relayd.deliver.measures import Latencies, Measure

_EQUAL_SECONDS = 0.005
_EQUAL_SHARE = 0.2
# Of the kinds of addresses in their order: those that never greeted and failed, behind which are those to be left
# alone; and what the second of those that may come first is instead, one that nobody knows.
_FAILED = 4
_BEHIND = {0: 3, 1: 3}


class _Address(msgspec.Struct, frozen=True, eq=False):
    candidate: Candidate
    # Infinite for one that never greeted.
    figure: float
    circuit: Circuit
    is_shut: bool
    # Rested after repeated failures, and nobody has tried again yet.
    is_probe: bool
    is_asked: bool
    # Never measured, and nobody is at it, nor has it failed just now.
    is_fresh: bool
    is_unsure: bool
    is_doubted: bool


class Standing(msgspec.Struct, frozen=True, eq=False):
    """One exchanger of a preference; `name` is unique there.

    `figure` is what its best usable address counts for in seconds, infinite while none is known. It `is_shut` when
    no address may be tried for now, a probe when that was so until now and one message is to find out.
    `is_explored` puts an address first that was never measured, or long ago, or once only.
    """

    name: str
    all: tuple[_Address, ...]
    figure: float
    is_explored: bool = False

    def __str__(self) -> str:
        if self.is_known:
            return f"{self.name} ({ms(self.figure)})"
        failures = self.failures
        if failures:
            return f"{self.name} ({failures} failure{'s' if failures > 1 else ''})"
        return f"{self.name} (not measured)"

    @property
    def is_known(self) -> bool:
        """Whether an address that may be used has greeted before."""
        return self.figure < math.inf

    @property
    def is_shut(self) -> bool:
        """Whether all its addresses are to be left alone."""
        return all(each.is_shut for each in self.all)

    @property
    def is_probe(self) -> bool:
        """Whether it is cut off but for an address that has rested long enough."""
        return all(each.is_shut or each.is_probe for each in self.all) and not self.is_shut

    @property
    def is_asked(self) -> bool:
        """Whether a connection to it is under way."""
        return any(each.is_asked for each in self.all)

    @property
    def is_doubted(self) -> bool:
        """Whether it has just greeted so slowly that the next message is to find out if it is so."""
        return self.is_known and not self.is_asked and any(each.is_doubted for each in self.all)

    @property
    def is_measurable(self) -> bool:
        """Whether nothing, or too little, is known of it, and nobody is at it."""
        if self.is_asked:
            return False
        if self.is_known:
            return all(each.is_unsure or math.isinf(each.figure) for each in self.all)
        return any(each.is_fresh for each in self.all)

    @property
    def has_measurable(self) -> bool:
        """Whether that is so of one of its addresses, while another is good."""
        return self.is_known and any(self._is_doubtful(each) for each in self.all)

    @property
    def failures(self) -> int:
        """In a row, of the address that has the fewest."""
        return min(each.circuit.failures for each in self.all)

    @property
    def rests_until(self) -> float:
        """When the first of its addresses may be tried again."""
        return min(each.circuit.rests_until for each in self.all)

    def exploring(self) -> "Standing":
        """The same, with an address to be measured before the good ones."""
        return msgspec.structs.replace(self, is_explored=True)

    def addresses(self, dice: random.Random, *, is_probed: bool) -> Sequence[Candidate]:
        """Its addresses as they are to be tried; `is_probed` lets one whose rest is over have the first chance.

        Equals are shuffled, as exchangers are; what nobody knows keeps the order that it came in, IPv6 first. Only
        one comes before the good ones to be measured. The IP versions take turns, since all addresses of one
        version often fail together (RFC 8305 section 4), but for those that never answered.
        """
        best = min((each.figure for each in self.all), default=math.inf)
        bound = equal_up_to(best)

        def place(each: _Address) -> tuple[int, float, float]:
            if each.is_probe and is_probed:
                return (0, 0.0, 0.0)
            if each.is_shut or each.is_probe:
                return (_FAILED + 1, each.circuit.rests_until, 0.0)
            if self.is_explored and self._is_doubtful(each):
                return (1, 0.0 if each.is_fresh else 1.0, 0.0)
            if math.isinf(each.figure):
                return (_FAILED if each.circuit.failures else 3, each.circuit.failures, 0.0)
            return (2, 0.0, dice.random()) if each.figure <= bound else (2, each.figure, 0.0)

        placed = sorted(((place(each), each.candidate) for each in self.all), key=itemgetter(0))
        placed[1:] = sorted(placed[1:], key=lambda each: _BEHIND.get(each[0][0], each[0][0]))
        good = [candidate for (kind, *_), candidate in placed if kind < _FAILED]
        return [*_taking_turns(good), *(candidate for _, candidate in placed[len(good) :])]

    def _is_doubtful(self, each: _Address) -> bool:
        return each.is_fresh or (each.is_unsure and not each.is_asked and each.figure > equal_up_to(self.figure))


def _taking_turns(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """In their order, but one of the other IP version after each, while there are both."""
    first = [each for each in candidates if each.address.version == candidates[0].address.version]
    other = [each for each in candidates if each.address.version != candidates[0].address.version]
    for pair in itertools.zip_longest(first, other):
        yield from filter(None, pair)


def standings(tier: Iterable[Candidate], latencies: Latencies, now: float) -> list[Standing]:
    """The exchangers of one preference, in the order they came."""
    by_name: dict[str, list[_Address]] = {}
    for candidate in tier:
        by_name.setdefault(candidate.exchanger, []).append(_address(candidate, latencies.of(candidate), now))
    return [Standing(name, tuple(addresses), _best(addresses)) for name, addresses in by_name.items()]


def _best(addresses: Iterable[_Address]) -> float:
    return min([each.figure for each in addresses if not (each.is_shut or each.is_probe)], default=math.inf)


def equal_up_to(best: float) -> float:
    """The slowest figure that is no worse than the best one, in seconds."""
    return best + max(_EQUAL_SECONDS, _EQUAL_SHARE * best)


def ms(seconds: float) -> str:
    """Milliseconds for people."""
    return f"{seconds * 1000:.1f} ms"


def _address(candidate: Candidate, measure: Measure, now: float) -> _Address:
    figure, circuit = measure.figure(now), measure.circuit
    is_asked, is_shut = measure.is_asked(now), measure.is_shut(now)
    return _Address(
        candidate,
        math.inf if figure is None else figure,
        circuit,
        is_shut=is_shut,
        is_probe=circuit.is_open and not is_shut,
        is_asked=is_asked,
        is_fresh=figure is None and not (is_asked or circuit.is_open or circuit.is_resting(now)),
        is_unsure=measure.is_unsure(now) and not circuit.is_resting(now),
        is_doubted=measure.is_doubted and not circuit.is_resting(now),
    )
