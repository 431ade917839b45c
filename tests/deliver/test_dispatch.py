"""Which parcels a message goes out in, and what an operator's pause leaves out."""

from collections.abc import Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from relayd.base import events
from relayd.base.config import Config, load
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
    opened: list[tuple[Job, int]] = field(default_factory=list)
    told: list[events.Event] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)

    def start(self, made: Job, paused: Set[str] = frozenset()) -> None:
        """One message."""
        Dispatch(
            self.config,
            lambda opened, parcels: self.opened.append((opened, parcels)),
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
    assert yard.opened == [(made, 1)]
    ((name, shelf),) = yard.shelves.items()
    (parcel,) = shelf.parcels
    assert (name, parcel.recipients, parcel.job) == ("example.net", (0,), made)


def test_a_message_that_is_paused_altogether_has_no_parcels() -> None:
    """Its account is opened all the same, so that it comes again."""
    yard = Yard()
    made = job("b@held.test")
    yard.start(made, {"held.test"})
    assert (yard.opened, yard.shelves) == ([(made, 0)], {})


def test_a_bug_concerns_its_message_alone() -> None:
    """None of its parcels goes out, so that none is waited for."""
    yard = Yard()
    made = job("a@example.net", "b@broken.test")
    yard.start(made)
    assert yard.opened == [(made, 0)]
    assert [type(error) for error in yard.bugs] == [ZeroDivisionError]
    assert yard.shelves["example.net"].parcels == []


def test_what_may_have_arrived_is_not_tried_where_a_person_is_to_decide() -> None:
    """Else it is tried again, as after any reply that never came."""
    made = job("a@example.net", is_cut=True)
    yard = Yard()
    yard.start(made)
    assert yard.opened == [(made, 1)]
    config = yard.config
    yard = Yard(replace(config, delivery=replace(config.delivery, in_doubt="hold")))
    yard.start(made)
    assert (yard.opened, yard.shelves) == ([(made, 0)], {})
    assert [type(event) for event in yard.told] == [events.QueueHeld]


def test_a_domain_beyond_ascii_is_paused_by_its_name_in_dns() -> None:
    """Which is how operators write it: commands and configuration take ASCII."""
    yard = Yard()
    made = job("a@b\u00fccher.example")
    yard.start(made, {"xn--bcher-kva.example"})
    assert (yard.opened, yard.shelves) == ([(made, 0)], {})
    yard.start(made)
    assert list(yard.shelves) == ["xn--bcher-kva.example"]
