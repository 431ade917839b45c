"""Lanes: the names of destinations, and what mail does where a route carries none. Pure.

Mail that goes the same way shares a destination. A domain with limits of its own has one for itself, on a route
too, so that its limits hold up nobody else's mail.
"""

from collections.abc import Container, Mapping
from functools import lru_cache

from relayd.base.routes import a_labels, route_key
from relayd.base.sections import Route
from relayd.deliver.routes import shared_names
from relayd.smtp.reply import Reply, reply

# No domain and no entry of [routes] has a space.
_FOR = " for "
_MOST_DOMAINS = 1000


class Lanes:
    """The names of all destinations; `limited` are the domains with limits of their own."""

    def __init__(self, routes: Mapping[str, Route], limited: Container[str]) -> None:
        self._routes = routes
        self._limited = limited
        # Each recipient of each attempt asks, and there may be thousands of routes.
        self._shared = shared_names(routes)
        # And the same few domains are asked for again and again.
        self.of = lru_cache(_MOST_DOMAINS)(self._of)

    def _of(self, domain: str) -> str:
        """The name of the destination for a domain."""
        own = a_labels(domain)
        way = self._shared.get(route_key(self._routes, own) or "")
        if way is None:
            return own
        return f"{way}{_FOR}{own}" if own in self._limited else way


def way_of(name: str) -> str:
    """The same without what is only this domain's: what `routes.route_of` knows."""
    return name.partition(_FOR)[0]


def own_of(name: str) -> str:
    """The domain whose limits hold for all of the destination; for a shared route, nobody's."""
    return name.rpartition(_FOR)[2]


def error_of(route: Route) -> Reply | None:
    """The reply of a route that refuses its mail; the text begins with an enhanced status code (RFC 3463)."""
    if route.error is None:
        return None
    status, _, text = route.error.partition(" ")
    return reply(550, status, text)


def holding(routes: Mapping[str, Route]) -> frozenset[str]:
    """The entries whose mail waits for a person."""
    return frozenset(key for key, route in routes.items() if route.hold)
