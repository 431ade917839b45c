"""Coherence: the values of a configuration held against each other.

It finds what contradicts, and what works and deserves a second look. Pure, and only about what is written: whether
files and users are there is another question. A value that stands alone was judged when it was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relayd.base import names
from relayd.base.mistake import shown_key, shown_value
from relayd.base.sections import Config, Listener


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One value that the others rule out, in the words of an error line.

    `index` is that of a listener, from 0; `value` is None where a key is missing.
    """

    table: str
    key: str
    value: Any
    why: str
    index: int = 0


def contradiction(config: Config, written: Sequence[Listener]) -> Contradiction | None:
    """The first one found, or None.

    `written` are the listeners of the file, before addresses and ports of the command line replaced theirs.
    """
    allow = config.relay.allow
    if names.everyone(allow) and not config.relay.open:
        shown = [str(network) for network in allow]
        return Contradiction("relay", "allow", shown, "everyone could relay; write open = true if you mean it")
    if config.relay.postmaster is None and not all(names.is_loopback(each.address) for each in config.listeners):
        why = 'required unless all listeners are loopback; write a mailbox, like "ops@example.org"'
        return Contradiction("relay", "postmaster", None, why)
    for index, listener in enumerate(written):
        found = _in_listener(config, listener)
        if found is not None:
            key, value, why = found
            return Contradiction("listener", key, value, why, index)
    return _shared_port(config.listeners)


def warnings(config: Config) -> list[str]:
    """What works and deserves a second look."""
    found = []
    if not names.is_qualified(config.hostname):
        found.append(
            f"hostname {shown_value(config.hostname)} is not a fully qualified name; "
            "EHLO names this host by its address"
        )
    if config.delivery.rank == "latency":
        found.append("RFC 5321 section 5.1 wants preference first; the configuration ranks by latency only")
    # The hosts of a route have no preference.
    for key, route in config.routes.items():
        if route.rank == "latency" and not route.hosts:
            place = f"[routes.{shown_key(key)}]"
            found.append(f"RFC 5321 section 5.1 wants preference first; {place} ranks by latency only")
    if names.everyone(config.relay.allow):
        found.append("this is an open relay: [relay] allow holds every address, and open = true")
    if config.metrics is not None and not names.is_loopback(config.metrics.address):
        found.append("[metrics] listen is no loopback address: whoever reaches it reads how much mail goes where")
    if config.tls is not None and not any(offers_tls(config, each) for each in config.listeners):
        found.append("[tls] is not used: no listener offers TLS")
    if config.auth is not None and not any(hears_passwords(config, each) for each in config.listeners):
        found.append("[auth] is not used: no listener offers AUTH, which needs TLS")
    return found


def offers_tls(config: Config, listener: Listener) -> bool:
    """Whether clients can encrypt there, by STARTTLS or from the start."""
    if config.tls is None or listener.tls == "off":
        return False
    return config.session.extended or listener.tls == "implicit"


def hears_passwords(config: Config, listener: Listener) -> bool:
    """Whether some client can use AUTH there."""
    if config.auth is None or listener.auth == "off" or not config.session.extended:
        return False
    # What comes through a proxy has crossed a network: none of its clients is on this host.
    return (config.auth.loopback_without_tls and not listener.proxy) or offers_tls(config, listener)


def _in_listener(config: Config, listener: Listener) -> tuple[str, Any, str] | None:
    """Key, value and what is wrong with it, if something is."""
    if listener.tls == "implicit" and config.tls is None:
        return "tls", "implicit", "needs a certificate; write a table [tls]"
    if listener.auth == "required":
        if config.auth is None:
            return "auth", "required", "needs users; write a table [auth]"
        if not config.session.extended:
            return "auth", "required", "AUTH is an extension, and [session] extended = false"
        if not hears_passwords(config, listener):
            what = 'tls = "starttls" or "implicit"' if listener.tls == "off" else "a table [tls]"
            return "auth", "required", f"passwords need TLS, so nobody could send; write {what}"
    if listener.proxy:
        if not listener.trusted:
            return "trusted", None, 'required with proxy = true; write whose word counts, like ["192.0.2.10"]'
        if names.everyone(listener.trusted):
            shown = [str(network) for network in listener.trusted]
            return "trusted", shown, "everyone could claim any address; write the addresses of the proxies"
    elif listener.trusted:
        return "trusted", [str(network) for network in listener.trusted], "needs proxy = true"
    return None


def _shared_port(listeners: Sequence[Listener]) -> Contradiction | None:
    seen: set[tuple[str, int]] = set()
    for index, each in enumerate(listeners):
        place = (each.address.lower(), each.port)
        # Port 0 is another port each time.
        if each.port and place in seen:
            why = f"two listeners at {shown_value(each.address)} have this port"
            return Contradiction("", "port", each.port, why, index)
        seen.add(place)
    return None
