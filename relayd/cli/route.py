"""`relayd route`: where mail for an address would go now, in which order, and why; no relay needs to run."""

import argparse
import asyncio
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from relayd.base import names, units
from relayd.base.config import Config
from relayd.base.counters import Board
from relayd.base.sections import IP, Route
from relayd.cli.arguments import configuration
from relayd.cli.output import as_json, clean, complain, table
from relayd.deliver.keeping import Keeping, Memory
from relayd.deliver.limits import Limits
from relayd.deliver.outlook import Outlook, Stop, look_out
from relayd.deliver.ways import ways_of
from relayd.master.listeners import reached_at
from relayd.smtp.address import NotAnAddress, parse_mailbox
from relayd.spool.layout import Layout

_USAGE = 2
# A person waits for a probe.
_CONNECT_SECONDS = 10.0
_REPLY_SECONDS = 15.0

_COLUMNS = ("", "exchanger", "pref", "address", "TTL", "greets", "samples", "failures", "circuit", "TLS")


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    config = configuration(arguments)
    try:
        domain = _domain(arguments.address)
    except ValueError as error:
        complain(f"{arguments.address}: {error}")
        return _USAGE
    memory = Keeping(Layout(str(config.spool.directory)), None, time.monotonic, time.time).read()
    if memory.trouble:
        complain(f"warning: {memory.trouble}")
    outlook = asyncio.run(_look_out(config, domain, memory, is_probing=arguments.probe))
    route = None if outlook.route is None else config.routes[outlook.route]
    if arguments.json:
        print(as_json({"address": arguments.address, "measured_s_ago": round(memory.age), **_facts(outlook)}))
    else:
        for line in _in_words(arguments.address, outlook, route):
            print(clean(line))
    return 0 if outlook.stops else 1


def _domain(written: str) -> str:
    """The domain of an address, or what is one itself; raises ValueError."""
    if "@" not in written:
        return names.domain(written)
    try:
        return parse_mailbox(written, international=True).domain
    except NotAnAddress as error:
        raise ValueError(f"not an address: {error}") from None


async def _look_out(config: Config, domain: str, memory: Memory, *, is_probing: bool) -> Outlook:
    limits = Limits(connect=_CONNECT_SECONDS)
    limits = replace(limits, replies={phase: min(each, _REPLY_SECONDS) for phase, each in limits.replies.items()})
    ways = ways_of(config, _endpoints(config), limits, Board(1).slot(0), lambda event: None, random.Random())
    ways.latencies.restore(memory.measures)
    return await look_out(domain, ways, is_probing=is_probing)


def _endpoints(config: Config) -> frozenset[tuple[IP, int]]:
    """Where our listeners are, or would be."""
    places = []
    for each in config.listeners:
        try:
            found = socket.getaddrinfo(each.address, each.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError:
            continue
        places += [(str(address[0]), int(address[1])) for *_, address in found]
    return reached_at(places)


def _facts(outlook: Outlook) -> dict[str, Any]:
    return {
        "domain": outlook.domain,
        "route": outlook.route,
        "rank": outlook.rule,
        "tls": outlook.tls,
        "mx_ttl_s": outlook.ttl_s,
        "why": outlook.why,
        "order": outlook.stops,
    }


def _in_words(address: str, outlook: Outlook, route: Route | None) -> Iterator[str]:
    yield f"{address}: {_way(outlook, route)}"
    if not outlook.stops:
        yield f"it does not go: {outlook.why}"
        return
    yield ""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    rows += [_row(place, stop, outlook) for place, stop in enumerate(outlook.stops, start=1)]
    for line in table(rows, right=frozenset({0, 2, 4, 5, 6, 7})):
        yield f"  {line}"
    yield ""
    for stop in outlook.stops:
        if stop.probed is not None:
            yield f"probed {stop.exchanger} {stop.address}: {_probed(stop)}"
    yield f"why this one first: {outlook.why}"


def _way(outlook: Outlook, route: Route | None) -> str:
    entry = "" if outlook.route is None else f'[routes] "{outlook.route}"'
    if route is not None and route.hosts:
        user = "" if route.user is None else f" as user {route.user}"
        return f"{entry}: {', '.join(route.hosts)}{user}, by {outlook.rule}"
    if outlook.ttl_s is None:
        return entry
    kept = f"the MX of {outlook.domain} (TTL {outlook.ttl_s} s), by {outlook.rule}"
    return f"{entry}: {kept}" if entry else kept


def _row(place: int, stop: Stop, outlook: Outlook) -> tuple[str, ...]:
    circuit: str = stop.circuit
    if stop.rests_s:
        circuit += f" for {units.in_words(stop.rests_s)}" if circuit == "open" else f", rests {stop.rests_s} s"
    return (
        str(place),
        stop.exchanger,
        "" if stop.preference is None else str(stop.preference),
        stop.address,
        "" if stop.ttl_s is None else f"{stop.ttl_s} s",
        "" if stop.greeting_ms is None else f"{stop.greeting_ms} ms",
        str(stop.samples),
        str(stop.failures),
        circuit,
        outlook.tls,
    )


def _probed(stop: Stop) -> str:
    assert stop.probed is not None
    if stop.probed.greeting_s is None:
        return stop.probed.answer
    offers = "STARTTLS offered" if stop.probed.has_starttls else "no STARTTLS"
    return f"greeted after {stop.probed.greeting_s * 1000:.1f} ms, {offers}: {stop.probed.answer}"
