"""Routes: the name of the destination that a domain's mail has, and back. Pure.

Recipients whose mail goes to the same hosts in the same way share a destination, whatever their domains are. An
entry without hosts only says how the domain's own exchangers are used, so its destinations are the domains.
"""

from collections.abc import Mapping

from relayd.base.routes import a_labels, route_key
from relayd.base.sections import Route

_PREFIX = "route "


def destination_of(routes: Mapping[str, Route], domain: str) -> str:
    """The destination's name: that of the first entry with the same route, or the domain (or literal)."""
    return shared_names(routes).get(route_key(routes, domain) or "", a_labels(domain))


def shared_names(routes: Mapping[str, Route]) -> dict[str, str]:
    """The destination of each entry whose mail does not go to the domains' own exchangers."""
    first: dict[Route, str] = {}
    return {key: _PREFIX + first.setdefault(route, key) for key, route in routes.items() if not is_by_mx(route)}


def route_of(routes: Mapping[str, Route], destination: str) -> Route | None:
    """The entry that says something of a destination, by its name; a domain has no space."""
    key = route_key(routes, destination)
    if destination.startswith(_PREFIX):
        key = destination.removeprefix(_PREFIX)
    return None if key is None else routes[key]


def is_by_mx(route: Route) -> bool:
    """Whether the domain's own exchangers are asked for."""
    return not route.hosts and route.error is None and not route.hold
