"""Which parcels a message goes out in, and what an operator's pause leaves out."""

from collections.abc import Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from relayd.base import events
from relayd.base.config import Config, load
from relayd.base.sections import Limit, Route
from relayd.deliver.dispatch import Dispatch
from relayd.deliver.parcel import Parcel
from relayd.spool.job import Job
from tests.deliver.making import job


@dataclass
class Shelf:
    """A destination that keeps what it is given."""

    parcels: list[Parcel] = field(default_factory=list)

    def add(self, parcel: Parcel) -> None:
        """Keep it."""
        self.parcels.append(parcel)


@dataclass
class Yard:
    """What a dispatch hands out, and to whom."""

    config: Config = field(default_factory=lambda: load(None, spool=Path("spool")))
    shelves: dict[str, Shelf] = field(default_factory=dict)
    opened: list[tuple[Job, int, bool]] = field(default_factory=list)
    told: list[events.Event] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)

    def start(self, made: Job, paused: Set[str] = frozenset()) -> None:
        """One message."""
        Dispatch(
            self.config,
            lambda *opened: self.opened.append(opened),
            self._shelf,
            self.told.append,
            lambda where, error: self.bugs.append(error),
        ).start(made, paused)

    def _shelf(self, name: str) -> Shelf:
        if name == "broken.test":
            raise ZeroDivisionError
        return self.shelves.setdefault(name, Shelf())


def test_who_is_paused_is_left_out_and_still_counts_as_open() -> None:
    """Whether a record can be done without, on a full disk, is judged by all of the message who are open."""
    yard = Yard()
    made = job("a@example.net", "b@held.test")
    yard.start(made, {"held.test"})
    assert yard.opened == [(made, 1, False)]
    ((name, shelf),) = yard.shelves.items()
    (parcel,) = shelf.parcels
    assert (name, parcel.recipients, parcel.job) == ("example.net", (0,), made)


def test_a_message_that_is_paused_altogether_has_no_parcels() -> None:
    """Its account is opened all the same, so that it comes again."""
    yard = Yard()
    made = job("b@held.test")
    yard.start(made, {"held.test"})
    assert (yard.opened, yard.shelves) == ([(made, 0, False)], {})


def test_a_bug_concerns_its_message_alone() -> None:
    """None of its parcels goes out, so that none is waited for."""
    yard = Yard()
    made = job("a@example.net", "b@broken.test")
    yard.start(made)
    assert yard.opened == [(made, 0, False)]
    assert [type(error) for error in yard.bugs] == [ZeroDivisionError]
    assert yard.shelves["example.net"].parcels == []


def test_what_may_have_arrived_is_not_tried_where_a_person_is_to_decide() -> None:
    """Else it is tried again, as after any reply that never came."""
    made = job("a@example.net", is_cut=True)
    yard = Yard()
    yard.start(made)
    assert yard.opened == [(made, 1, False)]
    config = yard.config
    yard = Yard(replace(config, delivery=replace(config.delivery, in_doubt="hold")))
    yard.start(made)
    assert (yard.opened, yard.shelves) == ([(made, 0, True)], {})
    assert [type(event) for event in yard.told] == [events.QueueMoved]


def test_a_domain_beyond_ascii_is_paused_by_its_name_in_dns() -> None:
    """Which is how operators write it: commands and configuration take ASCII."""
    yard = Yard()
    made = job("a@b\u00fccher.example")
    yard.start(made, {"xn--bcher-kva.example"})
    assert (yard.opened, yard.shelves) == ([(made, 0, False)], {})
    yard.start(made)
    assert list(yard.shelves) == ["xn--bcher-kva.example"]


# Routes.


def routed(**routes: Route) -> Yard:
    """A yard with these routes; an underscore in a name is a dot."""
    config = load(None, spool=Path("spool"))
    return Yard(replace(config, routes={name.replace("_", "."): route for name, route in routes.items()}))


HOLD = Route((), hold=True)


def test_a_message_whose_recipients_are_all_held_by_routes_is_held() -> None:
    """The log says which entries say so."""
    yard = routed(held_test=HOLD, other_test=HOLD)
    made = job("a@held.test", "b@other.test", "c@free.test", still_open=[0, 1])
    yard.start(made)
    assert (yard.opened, yard.shelves) == ([(made, 0, True)], {})
    reason = "[routes] says so for held.test, other.test"
    assert yard.told == [events.QueueMoved(id=made.id, now="hold", reason=reason)]


def test_beside_others_the_recipients_of_a_route_that_holds_wait() -> None:
    """The others are tried; a pause leaves nobody to be tried and holds nothing."""
    yard = routed(held_test=HOLD)
    made = job("a@held.test", "c@free.test")
    yard.start(made)
    assert yard.opened == [(made, 1, False)]
    assert [each.recipients for each in yard.shelves["free.test"].parcels] == [(1,)]
    yard = routed(held_test=HOLD)
    yard.start(made, {"free.test"})
    assert (yard.opened, yard.told, yard.shelves) == ([(made, 0, False)], [], {})


def test_a_domain_with_limits_has_its_own_destination_on_a_shared_route() -> None:
    """The others of the route share one."""
    yard = routed(**{"*": Route(("smart.test",))})
    delivery = replace(yard.config.delivery, limits={"slow.test": Limit(connections=1)})
    yard = Yard(replace(yard.config, delivery=delivery))
    yard.start(job("a@slow.test", "b@one.test", "c@two.test"))
    assert {name: [each.recipients for each in shelf.parcels] for name, shelf in yard.shelves.items()} == {
        "route * for slow.test": [(0,)],
        "route *": [(1, 2)],
    }
