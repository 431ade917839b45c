"""What destinations are called, and what a route does with mail that it does not carry."""

from collections import UserDict
from collections.abc import ItemsView

import pytest

from relayd.base.sections import Route
from relayd.deliver.lanes import Lanes, error_of, holding, own_of, way_of
from relayd.deliver.routes import destination_of, route_of

ROUTES = {
    "*": Route(("smart.test",)),
    "held.test": Route((), hold=True),
    "gone.test": Route((), error="5.1.2 gone"),
}


@pytest.mark.parametrize("routes", [{}, ROUTES])
@pytest.mark.parametrize("domain", ["example.net", "b\u00fccher.example", "[192.0.2.1]"])
def test_without_limits_of_its_own_a_domain_goes_with_the_others(routes: dict[str, Route], domain: str) -> None:
    """The name is that of its way."""
    name = Lanes(routes, {}).of(domain)
    assert name == destination_of(routes, domain)
    assert way_of(name) == name


def test_a_domain_with_limits_has_a_destination_for_itself_on_a_shared_route() -> None:
    """Its way is the same, and what it bears is known by its name."""
    name = Lanes(ROUTES, {"example.net": None}).of("example.net")
    assert name != Lanes(ROUTES, {"example.net": None}).of("example.org")
    assert route_of(ROUTES, way_of(name)) == ROUTES["*"]
    assert own_of(name) == "example.net"


def test_a_domain_of_its_own_is_called_by_its_name_alone() -> None:
    """With limits and without."""
    assert Lanes({}, {"example.net": None}).of("example.net") == "example.net"
    assert own_of("example.net") == "example.net"


def test_a_shared_route_has_no_domain_whose_limits_hold_for_all() -> None:
    """Its name is nobody's."""
    assert own_of(Lanes(ROUTES, {}).of("example.net")) not in ("example.net", "*")


def test_an_error_is_a_permanent_reply_with_its_code() -> None:
    """What was taken before the route came gets what clients get since."""
    answer = error_of(ROUTES["gone.test"])
    assert answer is not None
    assert str(answer) == "550 5.1.2 gone"
    assert error_of(ROUTES["*"]) is None


def test_the_entries_that_hold_are_known_by_their_keys() -> None:
    """The others carry or refuse."""
    assert holding(ROUTES) == {"held.test"}


class Counted(UserDict[str, Route]):
    """Routes that say how often all of them were gone through."""

    rounds = 0

    def items(self) -> ItemsView[str, Route]:
        """Count it."""
        self.rounds += 1
        return super().items()


def test_a_domain_is_one_look_up_however_many_routes_there_are() -> None:
    """A list of thousands of recipients on thousands of routes stalls no other mail."""
    routes = Counted({f"d{number}.test": Route((f"h{number // 2}.test",)) for number in range(6)})
    lanes = Lanes(routes, {})
    rounds = routes.rounds
    assert [lanes.of(domain) for domain in ("d4.test", "d5.test", "d1.test", "d9.test")] == [
        "route d4.test",
        "route d4.test",
        "route d0.test",
        "d9.test",
    ]
    assert routes.rounds == rounds
