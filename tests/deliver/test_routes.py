"""Routes: which entry of [routes] a domain takes."""

import pytest

from relayd.base.sections import Route
from relayd.deliver.routes import a_labels, destination_of, route_key, route_of

ROUTES = {
    "example.net": Route("exact", 25),
    ".example.net": Route("near", 26),
    ".net": Route("far", 27),
    "*": Route("2001:db8::1", 28),
}


@pytest.mark.parametrize(
    ("domain", "key"),
    [
        ("example.net", "example.net"),
        ("sub.example.net", ".example.net"),
        ("a.b.example.net", ".example.net"),
        ("other.net", ".net"),
        ("net", "*"),
        ("notexample.net", ".net"),
        ("example.org", "*"),
        ("[192.0.2.1]", "*"),
    ],
)
def test_the_nearest_entry_applies(domain: str, key: str) -> None:
    """The domain itself, then its parents from near to far, then all."""
    assert route_key(ROUTES, domain) == key


def test_without_an_entry_dns_decides() -> None:
    """The destination is the domain itself."""
    assert route_key({"example.net": Route("a", 25)}, "example.org") is None
    assert destination_of({}, "example.org") == "example.org"
    assert route_of("example.org") is None
    assert route_of("[192.0.2.1]") is None


@pytest.mark.parametrize("domain", ["example.net", "example.org"])
def test_a_destination_leads_back_to_its_route(domain: str) -> None:
    """IPv6 too, whose colons are not the port's."""
    key = route_key(ROUTES, domain)
    assert key is not None
    assert route_of(destination_of(ROUTES, domain)) == ROUTES[key]


def test_a_domain_beyond_ascii_goes_by_its_name_in_dns() -> None:
    """RFC 5890: U-labels and A-labels are two forms of one domain, so they share a destination and a route."""
    assert destination_of({}, "b\u00fccher.example") == destination_of({}, "xn--bcher-kva.example")
    routes = {".xn--bcher-kva.example": Route("inside", 25)}
    assert destination_of(routes, "sub.b\u00fccher.example") == "route inside:25"


@pytest.mark.parametrize("domain", ["example.net", "_odd_.example", "[192.0.2.1]", "[IPv6:::1]", "-.-"])
def test_a_domain_of_ascii_stays_as_it_is(domain: str) -> None:
    """Whether it is one that DNS could have is for DNS to say."""
    assert a_labels(domain) == domain


@pytest.mark.parametrize(
    "domain", ["\uff45xample.net", "a\u3002b", "\u200bx.example", "\udc80.example", "\u00e4" * 200]
)
def test_what_is_no_u_label_stays_as_it_is(domain: str) -> None:
    """No mapping: a look-alike must not lead to another domain. The resolver refuses it."""
    assert a_labels(domain) == domain
