"""A destination: the parcels for one domain or route, and how many couriers carry them.

The first courier finds out whether an exchanger answers, more follow as the queue grows. When none can be reached,
all parcels that wait here share that outcome. A destination that carries less than it is given does not keep all
of it: `relieve` hands parcels back untried, so that other mail has room. Refuses to know sockets and the queue.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from relayd.base import events
from relayd.base.sections import Route
from relayd.deliver.courier import INTERNAL, Courier, Means
from relayd.deliver.hop import Hop, Unreached
from relayd.deliver.parcel import Parcel, Via, refusal, with_transcript
from relayd.deliver.retry import is_expired
from relayd.deliver.waiting import Waiting
from relayd.smtp.reply import reply


class Destination:
    """One domain or route; forgotten by its owner when `is_idle`."""

    def __init__(self, name: str, route: Route | None, means: Means) -> None:
        self.name = name
        self._means = means
        self._limits = means.ways.limits
        self._hop = Hop(name, route, means.ways)
        self._waiting = Waiting()
        self._couriers: dict[Courier, asyncio.Task[None]] = {}
        self._grow_from = 0.0
        # How many may wait, while there is a bound; what was taken before the last judgement, how many seconds ago
        # that was, and whether anything waited when it was looked after last.
        self._bound: int | None = None
        self._taken = 0
        self._watched = 0.0
        self._was_waiting = False
        self._is_stopped = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nobody is under way."""
        return not self._waiting and not self._couriers

    @property
    def connections(self) -> int:
        """How many connections carry mail or could."""
        return sum(courier.is_connected for courier in self._couriers)

    def add(self, parcel: Parcel) -> None:
        """Take a parcel: for an idle courier, a new one, or the next one that is free.

        While the destination rests, it is not taken, but for what a person wants tried now. What is too old to
        wait shares the failure, since its lifetime is judged by one.
        """
        now = datetime.now(UTC)
        closed = None if parcel.job.is_urgent else self._means.ways.backoffs.of(self.name, now)
        if closed is not None:
            if is_expired(parcel.job.envelope.arrived, self._means.ways.settings.lifetime, now):
                self._means.report(parcel, refusal(parcel, closed.answer, closed.via, now), closed.via)
            else:
                self._means.postpone(parcel, closed.until)
        elif self._bound is not None and len(self._waiting) >= self._bound:
            self._means.report(parcel, (), Via())
        elif not self._waiting.add(parcel):
            self._hire()

    def relieve(self, seconds: float, *, is_full: bool) -> None:
        """Judge by what was carried since the last judgement; give back what would wait too long.

        To be called again and again, with the seconds since the last call and whether the queue is full. What is
        given back comes again later.
        """
        # A destination that is new or had nothing to do has not had its time yet.
        was_waiting, self._was_waiting = self._was_waiting, len(self._waiting) > 0
        self._watched += seconds
        if is_full and was_waiting and self._watched < self._limits.patience:
            return
        carried, self._taken = self._waiting.taken - self._taken, self._waiting.taken
        watched, self._watched = self._watched, 0.0
        kept = max(self._limits.backlog_least, round(carried / watched * self._limits.backlog))
        if is_full and was_waiting and len(self._waiting) > kept:
            self._bound = kept
            for parcel in self._waiting.take_beyond(kept):
                self._means.report(parcel, (), Via())
        elif self._bound is not None:
            self._bound = kept if len(self._waiting) * 2 > self._bound else None

    # The end of the process.

    def stop(self) -> list["asyncio.Task[None]"]:
        """Close what is not past its final dot, let idle couriers say QUIT; give all tasks that still run."""
        self._is_stopped = True
        self._cancel(lambda courier: courier.has_parcel or not courier.is_connected)
        self._waiting.close()
        return list(self._couriers.values())

    def hurry(self) -> None:
        """Let nobody go on but those that wait for a final reply."""
        self._cancel(lambda _: True)

    def give_up(self) -> None:
        """Time is up: what waits for a final reply is in doubt."""
        for courier in self._couriers:
            courier.give_up(reply(451, "4.4.2", "stopped while waiting for the final reply"))

    def _cancel(self, which: Callable[[Courier], bool]) -> None:
        for courier, task in self._couriers.items():
            if which(courier) and not courier.is_past_the_dot:
                task.cancel()

    # Couriers.

    def _hire(self) -> None:
        """One more courier, where one may help: the first looks for the way, others follow once it is found."""
        if self._couriers:
            is_found = any(courier.is_connected for courier in self._couriers)
            if not is_found or self._means.ways.clock() < self._grow_from:
                return
        if len(self._couriers) < self._means.ways.settings.connections_per_destination:
            courier = Courier(self._waiting, self._hop, self._means, self._arrived)
            self._couriers[courier] = asyncio.get_running_loop().create_task(self._employ(courier))

    def _arrived(self) -> None:
        """The way is found: as many couriers as there is work for."""
        if self._means.ways.backoffs.reached(self.name):
            self._means.ways.write(events.CircuitClosed(destination=self.name))
        for _ in range(len(self._waiting) - len(self._couriers)):
            self._hire()

    async def _employ(self, courier: Courier) -> None:
        try:
            failure = await courier.run()
        except Exception as error:
            self._means.bug(f"courier to {self.name}", error)
            failure = Unreached(INTERNAL)
        finally:
            # No parcel comes between here and the end: who adds one finds out that this courier is gone.
            del self._couriers[courier]
        if failure is not None:
            self._unreached(failure)
        if self._waiting and not self._couriers and not self._is_stopped:
            self._hire()

    def _unreached(self, failure: Unreached) -> None:
        """What failed for one courier failed for all that waits, unless another courier is better off."""
        if failure.is_contradicted or any(courier.is_connected for courier in self._couriers):
            # Exchangers bound the connections they take: those that are open carry the rest.
            self._grow_from = self._means.ways.clock() + self._limits.growth
            return
        now = datetime.now(UTC)
        if failure.answer.is_transient and failure.answer is not INTERNAL:
            self._rest(failure, now)
        for parcel in self._waiting.take_beyond(0):
            outcomes = refusal(parcel, failure.answer, failure.via, now)
            self._means.report(parcel, with_transcript(outcomes, lambda: failure.dialogues), failure.via)

    def _rest(self, failure: Unreached, now: datetime) -> None:
        """Leave the destination alone for a while, with all its messages, those that come meanwhile too."""
        was_resting = self._means.ways.backoffs.of(self.name, now) is not None
        closed = self._means.ways.backoffs.failed(self.name, failure.answer, failure.via, now)
        if not was_resting:
            self._means.ways.write(
                events.CircuitOpened(
                    destination=self.name,
                    failures=closed.failures,
                    until=closed.until.isoformat(timespec="seconds"),
                    reply=str(failure.answer),
                )
            )
