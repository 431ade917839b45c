"""Routes: the destination that a domain's mail has, and the entry that it leads back to."""

import pytest

from relayd.base.sections import Route
from relayd.deliver.routes import destination_of, is_by_mx, route_of

ROUTES = {
    "example.net": Route(("exact",), 25),
    ".example.net": Route(("near",), 26),
    "same.example": Route(("exact",), 25),
    "strict.example": Route(("exact",), 25, tls="verify"),
    "bank.example": Route((), tls="verify"),
    ".bank.example": Route((), tls="verify"),
    "gone.example": Route((), error="5.1.2 closed"),
    "later.example": Route((), hold=True),
    "*": Route(("2001:db8::1",), 28),
}


def test_without_an_entry_the_domain_is_the_destination() -> None:
    """Or the literal; DNS decides."""
    assert destination_of({}, "example.org") == "example.org"
    assert route_of({}, "example.org") is None
    assert route_of({}, "[192.0.2.1]") is None


@pytest.mark.parametrize("key", list(ROUTES))
def test_a_destination_leads_back_to_its_entry(key: str) -> None:
    """The same value, though it may be another entry's."""
    domain = {"*": "example.org"}.get(key, f"sub{key}" if key.startswith(".") else key)
    assert route_of(ROUTES, destination_of(ROUTES, domain)) == ROUTES[key]


@pytest.mark.parametrize(
    ("domain", "destination"),
    [
        ("example.net", "route example.net"),
        ("same.example", "route example.net"),
        ("strict.example", "route strict.example"),
        ("example.org", "route *"),
        ("[192.0.2.1]", "route *"),
        ("later.example", "route later.example"),
    ],
)
def test_domains_whose_mail_goes_the_same_way_share_a_destination(domain: str, destination: str) -> None:
    """Another port, host or TLS is another way."""
    assert destination_of(ROUTES, domain) == destination


@pytest.mark.parametrize("domain", ["bank.example", "sub.bank.example"])
def test_an_entry_without_hosts_leaves_each_domain_its_own_exchangers(domain: str) -> None:
    """Two domains of one entry have different exchangers."""
    assert destination_of(ROUTES, domain) == domain


def test_what_is_refused_or_held_has_no_exchangers() -> None:
    """Nobody may look for their MX records."""
    assert {key for key, route in ROUTES.items() if is_by_mx(route)} == {"bank.example", ".bank.example"}


def test_a_domain_beyond_ascii_goes_by_its_name_in_dns() -> None:
    """RFC 5890: U-labels and A-labels are two forms of one domain, so they share a destination and a route."""
    assert destination_of({}, "b\u00fccher.example") == destination_of({}, "xn--bcher-kva.example")
    routes = {".xn--bcher-kva.example": Route(("inside",), 25)}
    assert destination_of(routes, "sub.b\u00fccher.example") == "route .xn--bcher-kva.example"
