"""Dispatch: a claimed message goes out to its destinations, parcel by parcel, but for what an operator has paused.

Refuses to know the queue and connections. A message that cannot be divided is told as a bug and comes again.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Protocol

from relayd.base import events
from relayd.base.sections import Config
from relayd.deliver.parcel import Parcel, parcels
from relayd.deliver.routes import a_labels, destination_of
from relayd.spool.job import Job


class Taking(Protocol):
    """A destination, as far as it matters here."""

    def add(self, parcel: Parcel) -> None:
        """Take a parcel."""


@dataclass(frozen=True)
class Dispatch:
    """`open` begins the account of a message with so many parcels; `destination` gives one by its name."""

    config: Config
    open: Callable[[Job, int], None]
    destination: Callable[[str], Taking]
    write: Callable[[events.Event], None]
    bug: Callable[[str, Exception], None]

    def start(self, job: Job, paused: Set[str]) -> None:
        """Begin the attempt; nobody at these domains is tried now."""
        if job.is_cut and self.config.delivery.in_doubt == "hold":
            self.write(events.QueueHeld(id=job.id, reason="it may have arrived when relayd was killed"))
            self.open(job, 0)
            return
        try:
            portions = [(self.destination(parcel.destination), parcel) for parcel in self._parcels(job, paused)]
        except Exception as error:
            # Only this message is concerned; it comes again after a while.
            self.bug(f"message {job.id}", error)
            portions = []
        self.open(job, len(portions))
        for destination, parcel in portions:
            destination.add(parcel)

    def _parcels(self, job: Job, paused: Set[str]) -> list[Parcel]:
        """Each is of the whole job: whether a record can be done without is judged by all who are open."""
        recipients = job.envelope.recipients
        tried = tuple(index for index in job.open if a_labels(recipients[index].domain) not in paused)
        found = parcels(replace(job, open=tried), lambda domain: destination_of(self.config.routes, domain))
        return [replace(parcel, job=job) for parcel in found]
