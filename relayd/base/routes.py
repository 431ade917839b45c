"""Routes: which entry of [routes] a domain's mail takes. Pure.

Domains are compared as DNS has them: a domain beyond ASCII by its A-labels (RFC 5890 section 2.3.2.1).
"""

from collections.abc import Mapping

import idna

from relayd.base.sections import Route


def route_key(routes: Mapping[str, Route], domain: str) -> str | None:
    """Which entry applies to a domain or literal: itself, ".parent" from near to far, "*", or none."""
    if not routes:
        return None
    domain = a_labels(domain).lower()
    if domain in routes:
        return domain
    # What is in brackets has dots and no parents.
    labels = [domain] if domain.startswith("[") else domain.split(".")
    for first in range(1, len(labels)):
        parent = "." + ".".join(labels[first:])
        if parent in routes:
            return parent
    return "*" if "*" in routes else None


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
