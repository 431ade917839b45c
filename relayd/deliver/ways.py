"""Ways: what all destinations share on the way to an exchanger, from the configuration and the system's limits.

Refuses to know messages.
"""

import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from relayd.base import events, names
from relayd.base.counters import Slot
from relayd.base.sections import Config, Delivery, Route, Rule
from relayd.deliver.backoff import Backoffs
from relayd.deliver.exchangers import IP, Candidate, Ourselves
from relayd.deliver.handshakes import Handshakes
from relayd.deliver.limits import Limits
from relayd.deliver.loners import Loners
from relayd.deliver.measures import Latencies
from relayd.deliver.outward import Outward
from relayd.deliver.places import Places
from relayd.deliver.resolve import Resolver
from relayd.deliver.shares import Shares
from relayd.smtp.transcript import Clock


@dataclass(frozen=True)
class Ways:
    """`ehlo_name` None: the literal of the address that a connection comes from.

    `places` bounds the connections of all destinations together.
    """

    settings: Delivery
    routes: dict[str, Route]
    limits: Limits
    ehlo_name: str | None
    ourselves: Ourselves
    resolver: Resolver
    latencies: Latencies
    handshakes: Handshakes
    shares: Shares
    outward: Outward
    loners: Loners
    backoffs: Backoffs
    dice: random.Random
    clock: Clock
    counters: Slot
    write: Callable[[events.Event], None]
    places: Places

    def rule_of(self, route: Route | None) -> Rule:
        """How exchangers are ranked: as the route says, else as is configured for all."""
        return self.settings.rank if route is None or route.rank is None else route.rank

    def source_of(self, candidate: Candidate) -> IP | None:
        """The address of ours that a connection to it comes from, any of several; None: the system's choice."""
        sources = [each for each in self.settings.source if each.version == candidate.address.version]
        return self.dice.choice(sources) if sources else None


def ways_of(
    config: Config,
    endpoints: frozenset[tuple[IP, int]],
    limits: Limits,
    counters: Slot,
    write: Callable[[events.Event], None],
    dice: random.Random,
) -> Ways:
    """The ways of a process whose listeners are reached at `endpoints`."""
    places = _places()
    # Other hosts make nothing of a short name; they are given the address they see (section 4.1.1.1).
    full_name = config.hostname if names.is_qualified(config.hostname) else None
    return Ways(
        settings=config.delivery,
        routes=config.routes,
        limits=limits,
        ehlo_name=config.delivery.ehlo_name or full_name,
        ourselves=Ourselves(config.hostname.lower(), endpoints, frozenset(config.delivery.own_addresses)),
        resolver=Resolver(
            config.dns.nameservers,
            config.dns.timeout,
            asked=lambda: counters.add("lookups"),
            answered=lambda seconds: counters.observe("dns_seconds", seconds),
            at_once=places,
        ),
        latencies=Latencies(),
        shares=Shares(),
        outward=Outward(),
        loners=Loners(limits.alone),
        handshakes=Handshakes(),
        backoffs=Backoffs(config.delivery.retry, dice),
        dice=dice,
        clock=time.monotonic,
        counters=counters,
        write=write,
        places=Places(places),
    )


def _places() -> int:
    """How many connections, and as many queries, may be open: each is a descriptor, and there are other files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else max(1, files // 4)
