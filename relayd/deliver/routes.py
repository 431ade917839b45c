"""Routes: which entry of [routes] a domain's mail takes, and the name of the destination that follows. Pure.

Recipients whose mail goes the same way share a destination, whatever their domains are. Domains are compared as
DNS has them: a domain beyond ASCII by its A-labels (RFC 5890 section 2.3.2.1).
"""

import idna

from relayd.base.sections import Route

_PREFIX = "route "


def route_key(routes: dict[str, Route], domain: str) -> str | None:
    """Which entry of [routes] applies to a domain: itself, ".parent" from near to far, "*", or none."""
    if domain in routes:
        return domain
    labels = domain.split(".")
    for first in range(1, len(labels)):
        parent = "." + ".".join(labels[first:])
        if parent in routes:
            return parent
    return "*" if "*" in routes else None


def destination_of(routes: dict[str, Route], domain: str) -> str:
    """The name of the destination: the route's next hop, or the domain (or literal) itself."""
    domain = a_labels(domain)
    key = route_key(routes, domain)
    return domain if key is None else f"{_PREFIX}{routes[key].host}:{routes[key].port}"


def route_of(destination: str) -> Route | None:
    """The route that a destination's name stands for; a domain has no space."""
    if not destination.startswith(_PREFIX):
        return None
    host, _, port = destination.removeprefix(_PREFIX).rpartition(":")
    return Route(host, int(port))


def a_labels(domain: str) -> str:
    """The domain as DNS has it; itself where one of its labels is none by IDNA 2008, which then nobody knows."""
    if domain.isascii():
        return domain
    try:
        return ".".join(
            label if label.isascii() else idna.alabel(label).decode("ascii") for label in domain.split(".")
        )
    except UnicodeError:
        return domain
