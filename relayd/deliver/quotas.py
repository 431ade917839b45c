"""Quotas: what single domains and exchangers bear, by the operator's word, over all destinations.

An exchanger's connections are shared by all domains whose mail it takes: a place that one destination gives back
goes to the destination that stands in line for it longest. Who needs places of two does not keep the one
while it stands in line for the other. A pace holds for a domain or an exchanger as well.
Refuses to know sockets; the clock is handed in. What does not fit now is `Full`, which is no failure of anybody.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from relayd.base.sections import Limit
from relayd.deliver.pace import Pace
from relayd.smtp.transcript import Clock


class Guest(Protocol):
    """Who takes places and stands in line for them: a destination. None of this raises."""

    def invite(self, quota: "Quota") -> bool:
        """A place is free, and yours if you say True; False when it is not needed any more."""

    def make_way(self) -> None:
        """Others stand in line: give back what is idle."""


class Full(Exception):
    """Not now: the guest stands in line at `quota` and will be invited, or comes again after `seconds`."""

    def __init__(self, quota: "Quota | None" = None, seconds: float = 0.0) -> None:
        super().__init__("the limit is reached")
        self.quota = quota
        self.seconds = seconds


class Quota:
    """One domain's or exchanger's; places are connections."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.pace = None if limit.rate is None else Pace(limit.rate)
        self._guests: Counter[Guest] = Counter()
        self._line: dict[Guest, None] = {}

    def is_wanted(self, guest: Guest) -> bool:
        """Whether anybody else stands in line."""
        return len(self._line) > (guest in self._line)

    def has_in_line(self, guest: Guest) -> bool:
        """Whether the guest will be invited."""
        return guest in self._line

    def enter(self, guest: Guest) -> bool:
        """Take a place, or stand in line for one: nobody passes those who do."""
        if self.limit.connections is None:
            return True
        if self._guests.total() < self.limit.connections and not self._line:
            self._guests[guest] += 1
            return True
        self._line.setdefault(guest)
        for each in list(self._guests):
            if each is not guest:
                each.make_way()
        return False

    def leave(self, guest: Guest) -> None:
        """Give a place back; it is handed to the first in line that needs it."""
        if self.limit.connections is None:
            return
        self._take_from(guest)
        while self._line and self._guests.total() < self.limit.connections:
            following = next(iter(self._line))
            del self._line[following]
            # It has the place before it is asked, so that nobody takes it meanwhile.
            self._guests[following] += 1
            if not following.invite(self):
                self._take_from(following)

    def _take_from(self, guest: Guest) -> None:
        self._guests[guest] -= 1
        if not self._guests[guest]:
            del self._guests[guest]


class Quotas:
    """All of them, by domain or exchanger."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._all = {name.lower(): Quota(limit) for name, limit in limits.items()}

    def of(self, name: str) -> Quota | None:
        """The quota of a domain or an exchanger, where it has one."""
        return self._all.get(name.lower().removesuffix(".")) if self._all else None


class Lease:
    """One courier's share: of its destination's quota, and of the exchanger's that it goes to.

    `held` is a place that the guest was invited to. `patience` is for how long a slot is waited for. The slot of
    the first message of a connection is claimed before that is opened: others need not open one for it.
    """

    def __init__(
        self,
        quotas: Quotas,
        own: Quota | None,
        guest: Guest,
        clock: Clock,
        patience: float,
        held: Quota | None = None,
    ) -> None:
        self._quotas = quotas
        self._own = own
        self._guest = guest
        self._clock = clock
        self._patience = patience
        self._places: tuple[Quota, ...] = () if held is None else (held,)
        self._has_claim = False
        # Those to keep to.
        self.paces: tuple[Pace, ...] = ()
        self._go_to(None)

    @property
    def is_wanted(self) -> bool:
        """Whether others stand in line for its places."""
        return bool(self._places) and any(place.is_wanted(self._guest) for place in self._places)

    def messages(self, most: int) -> int:
        """How many messages the connection may carry, and not more than so many."""
        found = [each.limit.messages for each in self._quotas_kept]
        return min([most, *(each for each in found if each is not None)])

    def check(self) -> None:
        """Raise Full while it would take too long until the next message may go."""
        if not self._has_claim and (wait := self._wait()) > self._patience:
            raise Full(seconds=wait)

    def admit(self, exchanger: str) -> None:
        """A connection to the exchanger is to be opened, and none to the one before; raises Full."""
        quota = self._quotas.of(exchanger)
        if quota is not self._exchanger:
            self._go_to(quota)
        for place in self._places:
            if place not in self._quotas_kept:
                place.leave(self._guest)
        self._places = tuple(place for place in self._places if place in self._quotas_kept)
        for each in self._quotas_kept:
            if each not in self._places:
                if not each.enter(self._guest):
                    raise Full(each)
                self._places += (each,)
        self.check()
        if not self._has_claim:
            self._has_claim = True
            for pace in self.paces:
                pace.claim()

    def take_slot(self) -> float | None:
        """Take the next message's slot; how long until then, or None: it is too far away and was not taken."""
        if not self.paces:
            return 0.0
        if not self._has_claim and self._wait() > self._patience:
            return None
        self._unclaim()
        now = self._clock()
        return max(pace.take(now) for pace in self.paces)

    def give_slot_back(self) -> None:
        """No message went in it."""
        for pace in self.paces:
            pace.give_back()

    def release(self) -> None:
        """The connection is gone, or there was none."""
        self.parting()()

    def parting(self) -> Callable[[], None]:
        """The same in two steps: what this gives is to be called when the connection is gone."""
        places, self._places = self._places, ()
        self._go_to(None)

        def part() -> None:
            for place in places:
                place.leave(self._guest)

        return part

    def _wait(self) -> float:
        if not self.paces:
            return 0.0
        now = self._clock()
        return max(pace.wait(now) for pace in self.paces)

    def _unclaim(self) -> None:
        if self._has_claim:
            self._has_claim = False
            for pace in self.paces:
                pace.unclaim()

    def _go_to(self, exchanger: Quota | None) -> None:
        """Keep to this one's limits, and to the domain's."""
        self._unclaim()
        self._exchanger = exchanger
        self._quotas_kept = tuple(dict.fromkeys(each for each in (self._own, exchanger) if each is not None))
        self.paces = tuple(each.pace for each in self._quotas_kept if each.pace is not None)
