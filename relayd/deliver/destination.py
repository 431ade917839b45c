"""A destination: the parcels for one domain or route, and how many couriers carry them.

The first courier finds out whether an exchanger answers, more follow as the queue grows. When none can be reached,
all parcels that wait here share that outcome. While a limit is reached, they wait without a connection. A
destination that carries less than it is given does not keep all of it: `relieve` hands parcels back untried, so
that other mail has room. Refuses to know sockets and the queue.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from relayd.base import events
from relayd.base.sections import Route
from relayd.deliver.courier import INTERNAL, Courier
from relayd.deliver.growth import Growth
from relayd.deliver.hop import Hop, Unreached
from relayd.deliver.lanes import own_of, way_of
from relayd.deliver.means import Means
from relayd.deliver.pace import Pace
from relayd.deliver.parcel import Parcel, Via, refusal, with_transcript
from relayd.deliver.quotas import Full, Lease, Quota
from relayd.deliver.retry import is_expired, longest
from relayd.deliver.waiting import Waiting
from relayd.smtp.reply import reply
from relayd.spool.outcome import Outcome, has_delivery


class Destination:
    """One domain or route; forgotten by its owner when `is_idle`."""

    def __init__(self, name: str, route: Route | None, means: Means) -> None:
        self.name = name
        self._means = means
        self._limits = means.ways.limits
        self._hop = Hop(way_of(name), route, means.ways)
        self._own = means.quotas.of(own_of(name))
        self._waiting = Waiting()
        self._couriers: dict[Courier, asyncio.Task[None]] = {}
        most = means.ways.settings.connections_per_destination
        if self._own is not None and self._own.limit.connections is not None:
            most = min(most, self._own.limit.connections)
        self._growth = Growth(most)
        # What keeps new couriers away: another's place that it stands in line for, or a slot that is far away.
        self._line: Quota | None = None
        self._pause: asyncio.TimerHandle | None = None
        # The paces that its connections kept to last, its own and their exchanger's.
        self._paces: tuple[Pace, ...] = () if self._own is None or self._own.pace is None else (self._own.pace,)
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
        if self._puts_off(parcel):
            return
        if self._bound is not None and len(self._waiting) >= self._bound:
            self._means.report(self._waiting.displace(parcel), (), Via())
        elif not self._waiting.add(parcel):
            self._hire()

    def _puts_off(self, parcel: Parcel) -> bool:
        """Whether a parcel is not taken now: it has been reported or postponed."""
        if parcel.job.is_urgent:
            return False
        now = datetime.now(UTC)
        closed = self._means.ways.backoffs.of(self.name, now)
        if closed is None:
            slot = self._slot_of(parcel, now) if self._paces else None
            if slot is None:
                return False
            self._means.postpone(parcel, now + timedelta(seconds=slot))
        elif is_expired(parcel.job.envelope.arrived, self._means.ways.settings.lifetime, now):
            self._means.report(parcel, refusal(parcel, closed.answer, closed.via, now), closed.via)
        else:
            if parcel.job.attempt == 1:
                # Health would see one attempt alone while everything waits for a smarthost that is down.
                self._means.ways.counters.add("attempts_failed")
            self._means.postpone(parcel, closed.until)
        return True

    def _slot_of(self, parcel: Parcel, now: datetime) -> float | None:
        """In how many seconds a parcel should come again, when those that wait fill all slots that are near.

        One that has been here before has room where a new one has none: it comes for its slot.
        """
        backlog, ways = self._limits.backlog, self._means.ways
        slowest = min(self._paces, key=lambda pace: pace.rate)
        room = slowest.room(backlog)
        if (now - parcel.job.envelope.arrived).total_seconds() > backlog:
            room *= 2
        if len(self._waiting) < room:
            return None
        return slowest.join(ways.clock(), backlog, longest(ways.settings.retry))

    def relieve(self, seconds: float, least: int, *, is_full: bool) -> None:
        """Judge by what was carried since the last judgement; give back what would wait too long.

        To be called again and again, with the seconds since the last call and whether the queue is full. So many
        it keeps in any case. What is given back comes again later.
        """
        # A destination that is new or had nothing to do has not had its time yet.
        was_waiting, self._was_waiting = self._was_waiting, len(self._waiting) > 0
        self._watched += seconds
        if is_full and was_waiting and self._watched < self._limits.patience:
            return
        carried, self._taken = self._waiting.taken - self._taken, self._waiting.taken
        watched, self._watched = self._watched, 0.0
        kept = max(least, round(carried / watched * self._limits.backlog))
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
        for courier in self._couriers:
            courier.begin_nothing()
        self._cancel(lambda courier: courier.has_parcel or not courier.is_connected)
        self._waiting.close()
        if self._pause is not None:
            self._pause.cancel()
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

    def _hire(self, held: Quota | None = None) -> bool:
        """One more courier, where one may help: the first looks for the way, others follow once it is found.

        `held` is a place at an exchanger that it was invited to, which it then has or hands on.
        """
        couriers, ways = self._couriers, self._means.ways
        if (held is None and self._is_kept_waiting) or (couriers and len(couriers) >= self._growth.allowed):
            return False
        if couriers:
            now = ways.clock()
            is_found = any(courier.is_connected for courier in couriers)
            # Where there is no slot or no place for it, another one would only stand in others' way.
            is_late = ways.places.are_scarce or any(pace.wait(now) > 0 for pace in self._paces)
            if not is_found or is_late or not self._growth.allows_another(len(couriers), now):
                return False
        lease = Lease(self._means.quotas, self._own, self, ways.clock, self._limits.idle, held)
        courier = Courier(self._waiting, self._hop, self._means, lease, self)
        couriers[courier] = asyncio.get_running_loop().create_task(self._employ(courier))
        return True

    def arrived(self, lease: Lease) -> None:
        """The way is found: as many couriers as there is work for."""
        self._paces = lease.paces
        if self._means.ways.backoffs.reached(self.name):
            self._growth.begin_again()
            self._means.ways.write(events.CircuitClosed(destination=self.name))
        self._grow()

    def carried(self, outcomes: Sequence[Outcome]) -> None:
        """After a failure, each message that is taken allows one courier more."""
        if self._growth.is_slow and has_delivery(outcomes):
            self._growth.carried()
            self._grow()

    def lost(self) -> None:
        """An exchanger that takes a connection and drops it has too many, or no mind to take mail."""
        self._refused()

    def _grow(self) -> None:
        for _ in range(len(self._waiting) - len(self._couriers)):
            if not self._hire():
                return

    def _refused(self) -> None:
        self._growth.refused(self.connections, self._means.ways.clock() + self._limits.growth)

    async def _employ(self, courier: Courier) -> None:
        ended: Unreached | Full | None
        try:
            ended = await courier.run()
        except Exception as error:
            self._means.bug(f"courier to {self.name}", error)
            ended = Unreached(INTERNAL)
        finally:
            # No parcel comes between here and the end: who adds one finds out that this courier is gone.
            del self._couriers[courier]
        if isinstance(ended, Full):
            self._wait(ended)
        elif ended is not None:
            self._unreached(ended)
        if self._waiting and not self._couriers and not self._is_stopped:
            self._hire()

    def _unreached(self, failure: Unreached) -> None:
        """What failed for one courier failed for all that waits, unless another courier is better off."""
        if failure.is_contradicted or any(courier.is_connected for courier in self._couriers):
            # Exchangers bound the connections they take: those that are open carry the rest.
            self._refused()
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

    # Limits.

    @property
    def _is_kept_waiting(self) -> bool:
        return self._pause is not None or (self._line is not None and self._line.has_in_line(self))

    def _wait(self, full: Full) -> None:
        if full.quota is not None:
            self._line = full.quota
        elif self._pause is None and not self._is_stopped:
            self._pause = asyncio.get_running_loop().call_later(full.seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._waiting:
            self._hire()

    def invite(self, quota: Quota) -> bool:
        """A place at an exchanger is free, for one more courier."""
        return bool(self._waiting) and not self._is_stopped and self._hire(quota)

    def make_way(self) -> None:
        """Others want its exchanger: one idle courier leaves."""
        self._waiting.wake_one()
