"""Dispatch: a claimed message goes out to its destinations, parcel by parcel, but for what an operator has paused.

Recipients whose route says hold are not tried; a message that has no others goes to hold/.

Refuses to know the queue and connections. A message that cannot be divided is told as a bug and comes again.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from relayd.base import events
from relayd.base.routes import a_labels, route_key
from relayd.base.sections import Config
from relayd.deliver.lanes import Lanes, holding
from relayd.deliver.parcel import Parcel, parcels
from relayd.spool.job import Job


class Taking(Protocol):
    """A destination, as far as it matters here."""

    def add(self, parcel: Parcel) -> None:
        """Take a parcel."""


@dataclass(frozen=True)
class Dispatch:
    """`open` begins the account of a message with so many parcels, or of one that is to be held, without any.

    `destination` gives one by its name.
    """

    config: Config
    open: Callable[[Job, int, bool], None]
    destination: Callable[[str], Taking]
    write: Callable[[events.Event], None]
    bug: Callable[[str, Exception], None]

    def start(self, job: Job, paused: Set[str]) -> None:
        """Begin the attempt; nobody at these domains is tried now."""
        portions: list[tuple[Taking, Parcel]] = []
        reason = ""
        try:
            reason = self._why_hold(job)
            if not reason:
                portions = [(self.destination(each.destination), each) for each in self._parcels(job, paused)]
        except Exception as error:
            # Only this message is concerned; it comes again after a while.
            self.bug(f"message {job.id}", error)
        if reason:
            self.write(events.QueueMoved(id=job.id, session=job.envelope.session, now="hold", reason=reason))
        self.open(job, len(portions), bool(reason))
        for destination, parcel in portions:
            destination.add(parcel)

    def _why_hold(self, job: Job) -> str:
        """Why nobody of the message is tried and a person is to decide, or nothing."""
        if job.is_cut and self.config.delivery.in_doubt == "hold":
            return "it may have arrived when relayd was killed"
        if not self._holding:
            return ""
        entries = {self._held_by(job.envelope.recipients[index].domain) for index in job.open}
        if not entries or None in entries:
            return ""
        return f"[routes] says so for {', '.join(sorted(filter(None, entries)))}"

    @cached_property
    def _holding(self) -> frozenset[str]:
        return holding(self.config.routes)

    @cached_property
    def _lanes(self) -> Lanes:
        return Lanes(self.config.routes, self.config.delivery.limits)

    def _held_by(self, domain: str) -> str | None:
        """The entry of [routes] that has the domain's mail wait for a person."""
        if not self._holding:
            return None
        key = route_key(self.config.routes, domain)
        return key if key in self._holding else None

    def _parcels(self, job: Job, paused: Set[str]) -> list[Parcel]:
        """Each is of the whole job: whether a record can be done without is judged by all who are open."""
        tried = job.open
        if paused or self._holding:
            domains = [(index, job.envelope.recipients[index].domain) for index in job.open]
            tried = tuple(
                index
                for index, domain in domains
                if a_labels(domain) not in paused and self._held_by(domain) is None
            )
        return parcels(job, tried, self._lanes.of)
