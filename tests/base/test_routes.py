"""Routes: which entry of [routes] a domain takes."""

import pytest

from relayd.base.routes import a_labels, route_key
from relayd.base.sections import Route

ROUTES = {
    "example.net": Route(("exact",), 25),
    ".example.net": Route(("near",), 26),
    ".net": Route(("far",), 27),
    ".1]": Route(("nobody",), 28),
    "*": Route(("2001:db8::1",), 28),
}


@pytest.mark.parametrize(
    ("domain", "key"),
    [
        ("example.net", "example.net"),
        ("Example.NET", "example.net"),
        ("sub.example.net", ".example.net"),
        ("a.b.example.net", ".example.net"),
        ("other.net", ".net"),
        ("net", "*"),
        ("notexample.net", ".net"),
        ("example.org", "*"),
        ("[192.0.2.1]", "*"),
        ("", "*"),
    ],
)
def test_the_nearest_entry_applies(domain: str, key: str) -> None:
    """The domain itself, then its parents from near to far, then all."""
    assert route_key(ROUTES, domain) == key


def test_without_an_entry_dns_decides() -> None:
    """There is nothing for it."""
    assert route_key({"example.net": Route(("a",), 25)}, "example.org") is None


def test_a_domain_beyond_ascii_takes_the_entry_of_its_name_in_dns() -> None:
    """RFC 5890: U-labels and A-labels are two forms of one domain."""
    routes = {".xn--bcher-kva.example": Route(("inside",), 25)}
    assert route_key(routes, "sub.b\u00fccher.example") == ".xn--bcher-kva.example"


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
