"""An outlook: where mail for a domain would go now, in which order, and why, as the delivery process would choose.

What is explored now and then is left out of it. Refuses to know how it is shown.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from relayd.base.routes import a_labels, route_key
from relayd.base.sections import Rule, TlsMode
from relayd.deliver.circuit import State
from relayd.deliver.exchangers import Candidate
from relayd.deliver.finding import find
from relayd.deliver.probing import Probed, probe
from relayd.deliver.ranking import Ranked, rank
from relayd.deliver.routes import destination_of, is_by_mx, route_of
from relayd.deliver.security import tls_mode
from relayd.deliver.ways import Ways
from relayd.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Stop:
    """One address in the order of trial; times in milliseconds or seconds, None where nothing is known.

    `ttl_s` is for how long its address is good by DNS, `rests_s` for how long it is left alone yet.
    """

    exchanger: str
    preference: int | None
    address: str
    ttl_s: int | None
    greeting_ms: float | None
    connect_ms: float | None
    samples: int
    failures: int
    circuit: State
    rests_s: int
    probed: Probed | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """`route` is the entry of [routes] that applies, `ttl_s` for how long the MX records are good.

    Where mail cannot go, `stops` is empty and `why` the reply that says so, or what the route does instead.
    """

    domain: str
    route: str | None
    rule: Rule
    tls: TlsMode
    ttl_s: int | None
    stops: tuple[Stop, ...]
    why: str


async def look_out(domain: str, ways: Ways, *, is_probing: bool) -> Outlook:
    """Look up, measure where `is_probing`, and choose."""
    name = a_labels(domain).lower()
    key = route_key(ways.routes, name)
    route = None if key is None else ways.routes[key]
    rule = ways.rule_of(route)
    tls = tls_mode(route)
    if route is not None and route.error is not None:
        return Outlook(name, key, rule, tls, None, (), f"the route refuses it: 550 {route.error}")
    if route is not None and route.hold:
        return Outlook(name, key, rule, tls, None, (), "the route holds it until somebody releases it")
    destination = destination_of(ways.routes, name)
    is_mx = route is None or is_by_mx(route)
    found = await find(destination, route_of(ways.routes, destination), ways)
    ttl_s = round(ways.resolver.exchangers_hold(destination)) if is_mx else None
    if isinstance(found, Reply):
        return Outlook(name, key, rule, tls, ttl_s, (), str(found))
    probed = await probe(found, ways) if is_probing else {}
    ranked = rank(found, ways.latencies, rule, ways.clock(), random.Random(), may_explore=False)
    return Outlook(
        name, key, rule, tls, ttl_s, tuple(_stops(ranked, ways, probed, has_preference=is_mx)), ranked.reason
    )


def _stops(ranked: Ranked, ways: Ways, probed: dict[Candidate, Probed], *, has_preference: bool) -> Sequence[Stop]:
    now = ways.clock()
    stops = []
    for candidate in ranked.candidates:
        measure = ways.latencies.of(candidate)
        rests_s = measure.circuit.rests_until - now if measure.circuit.failures else 0.0
        stops.append(
            Stop(
                exchanger=candidate.exchanger,
                preference=candidate.preference if has_preference else None,
                address=str(candidate),
                ttl_s=_ttl(candidate, ways),
                greeting_ms=_ms(measure.latency_s),
                connect_ms=_ms(measure.connect_s),
                samples=measure.samples,
                failures=measure.circuit.failures,
                circuit=measure.circuit.state(now),
                rests_s=max(0, round(rests_s)),
                probed=probed.get(candidate),
            )
        )
    return stops


def _ttl(candidate: Candidate, ways: Ways) -> int | None:
    """None where an address stands for a name."""
    if str(candidate.address) in candidate.exchanger:
        return None
    return round(ways.resolver.addresses_hold(candidate.exchanger, candidate.address.version))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
