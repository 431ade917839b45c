"""A courier: a task that carries parcels to one destination, over one connection at a time.

It takes parcel after parcel, keeps its connection while that is the one to use, and leaves when none comes.
Refuses to know the queue: what an attempt came to goes to `report`, once for each parcel that was taken and not
put back. From MAIL on there is no further exchanger in the same attempt (RFC 5321 section 3.8); a kept connection
that turns out to be gone before MAIL is answered was no attempt, and the parcel goes back to those that wait.
While others wait for its place, it gives that back after a few parcels.
"""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from relayd.deliver.carriage import Carried, begin, conclude, load_at_once
from relayd.deliver.connection import Connection, Load
from relayd.deliver.hop import Hop, Reached, Unreached
from relayd.deliver.means import Means
from relayd.deliver.parcel import Parcel, refusal, with_transcript
from relayd.deliver.quotas import Full, Lease
from relayd.deliver.security import has_waited
from relayd.deliver.waiting import Waiting
from relayd.smtp.reply import Reply, reply
from relayd.spool.outcome import Outcome

INTERNAL = reply(451, "4.3.0", "internal error; the log says more")
_NOT_IN_CLEAR = reply(
    451, "4.7.5", "a TLS handshake failed, and the mail has not waited long enough to go in the clear"
)


class Employer(Protocol):
    """Who wants to know how a courier gets on: its destination. None of this raises."""

    def arrived(self, lease: Lease) -> None:
        """An exchanger is ready for MAIL."""

    def carried(self, outcomes: Sequence[Outcome]) -> None:
        """A transaction has come to these."""

    def lost(self) -> None:
        """A new connection was lost before its exchanger had answered MAIL."""


class Courier:
    """`lease` is its share of what the domain and the exchanger bear."""

    def __init__(self, waiting: Waiting, hop: Hop, means: Means, lease: Lease, employer: Employer) -> None:
        self._waiting = waiting
        self._hop = hop
        self._means = means
        self._limits = means.ways.limits
        self._lease = lease
        self._employer = employer
        self._parcel: Parcel | None = None
        self._connection: Connection | None = None
        # Whether it had something behind it, a transaction or idle time: the exchanger may be tired of it.
        self._is_kept = False
        # Of the connection: how many transactions it may carry, how many have begun, until when it is young, and
        # whether another one is to come after it.
        self._most = self._served = 0
        self._until = 0.0
        self._is_done = False
        # The parcels whose transactions have begun behind the one under way.
        self._ahead: deque[tuple[Reached, Parcel]] = deque()

    @property
    def is_connected(self) -> bool:
        """Whether an exchanger listens to it."""
        return self._connection is not None and self._connection.is_open

    @property
    def is_past_the_dot(self) -> bool:
        """Whether the exchanger may have the message: what it says, or has just said, must be reported."""
        return self.has_parcel and self._connection is not None and self._connection.dots > 0

    @property
    def has_parcel(self) -> bool:
        """Whether a transaction is under way."""
        return self._parcel is not None

    async def run(self) -> Unreached | Full | None:
        """Carry until nothing waits; give what keeps it from carrying the parcels that are left."""
        ended: Unreached | Full | None = None
        try:
            while ended is None and self._waiting:
                async with self._means.ways.places:
                    ended = await self._go()
        finally:
            self._lease.release()
        return ended

    async def _go(self) -> Unreached | Full | None:
        """Once to an exchanger and back."""
        first = self._waiting.first
        if first is None:
            # Somebody took it while there was no place.
            return None
        try:
            self._lease.check()
            envelope = first.job.envelope
            reached = await self._hop.reach(
                first.job.id, self._lease.admit, arrived=envelope.arrived, session=envelope.session
            )
        except Full as full:
            return full
        if isinstance(reached, Unreached):
            return reached
        self._connection = reached.connection
        try:
            self._employer.arrived(self._lease)
            served = await self._use(reached)
            self._leave(reached.connection)
        except BaseException:
            reached.connection.abort()
            raise
        finally:
            self._connection = None
            # What had begun when the process ends, or a bug ended all of it.
            while self._ahead:
                self._waiting.put_back(self._ahead.pop()[1])
        if not served and reached.connection.is_fallback and self._waiting:
            # What waits may not go in the clear, and another connection would end in the same way.
            return Unreached(_NOT_IN_CLEAR, reached.via, dialogues=reached.dialogues())
        return None

    def begin_nothing(self) -> None:
        """The process ends: what is past its final dot is waited for, and nothing goes behind it."""
        if self._connection is not None:
            self._connection.begin_nothing()

    def give_up(self, why: Reply) -> None:
        """The time for the final reply is up; the courier hears of it and reports what is in doubt."""
        if self._connection is not None:
            self._connection.give_up(why)

    def _leave(self, connection: Connection) -> None:
        """Say QUIT; nobody waits for the answer while there is mail to carry."""
        leaving, gone = self._means.leaving, connection.leave()
        leaving.add(gone)
        gone.add_done_callback(leaving.discard)
        # Until then the exchanger counts it.
        release = self._lease.parting()
        gone.add_done_callback(lambda _: release())

    async def _use(self, reached: Reached) -> int:
        """Carry parcels over one connection, as long as it is good and something comes; how many transactions."""
        connection = reached.connection
        self._reached = reached
        self._is_kept = self._is_done = False
        self._until = self._means.ways.clock() + self._limits.age
        self._most, self._served = self._lease.messages(self._limits.transactions), 0
        if not (self._lease.paces or connection.is_fallback or self._means.promise is not None):
            connection.following = self._follow
        goes_on = True
        while goes_on:
            has_begun = bool(self._ahead)
            if not has_begun:
                following = None if self._has_served else await self._next(self._reached)
            elif self._waiting.is_closed and not connection.dots:
                # The process ends, and the exchanger has no mail data of it.
                break
            else:
                following = self._ahead.popleft()
            if following is None:
                break
            self._reached, parcel = following
            goes_on = await self._serve(self._reached, parcel, has_begun=has_begun)
        connection.following = None
        return self._served

    @property
    def _has_served(self) -> bool:
        """Whether the connection is given back, whatever waits."""
        if self._is_done or self._served >= self._most:
            return True
        is_old = self._served > 0 and self._means.ways.clock() >= self._until
        return is_old or (self._served >= self._limits.turn and self._is_wanted)

    def _follow(self) -> Load | None:
        """Take the next parcel as the mail data of this one goes, where nothing is to be waited for.

        Called by the connection, in the middle of what is about another parcel: it raises nothing.
        """
        parcel = self._waiting.first
        if parcel is None:
            return None
        try:
            return self._take_along(parcel)
        except Exception as error:
            self._means.bug(f"delivery of {parcel.job.id}", error)
            return None

    def _take_along(self, parcel: Parcel) -> Load | None:
        connection = self._reached.connection
        if (
            self._means.is_behind()
            or self._has_served
            or not self._hop.may_follow(connection)
            or (load := load_at_once(self._means, connection, parcel)) is None
        ):
            return None
        kept = self._hop.kept(self._reached)
        if kept is None:
            self._is_done = True
            return None
        self._waiting.take()
        self._ahead.append((kept, parcel))
        self._begins()
        return load

    def _begins(self) -> None:
        self._served += 1
        self._hop.carries()

    @property
    def _is_wanted(self) -> bool:
        """Whether another destination waits for what this connection takes up."""
        return self._means.ways.places.are_scarce or self._lease.is_wanted

    async def _next(self, reached: Reached) -> tuple[Reached, Parcel] | None:
        """The next parcel for this connection, and why this one; None when it has served."""
        if self._means.is_behind():
            await self._means.caught_up()
        connection = reached.connection
        if not await connection.is_ready():
            return None
        kept = self._hop.kept(reached) if self._is_kept else reached
        if kept is not None and not self._waiting:
            if self._is_wanted:
                return None
            await self._waiting.come(self._limits.idle)
            self._is_kept = True
            # Much may have been learned of the other exchangers meanwhile.
            kept = self._hop.kept(reached) if await connection.is_ready() else None
        if kept is None or not self._may_take_next(connection):
            return None
        slot = self._lease.take_slot()
        if slot is None:
            return None
        if slot:
            # This is no idle time that excuses a loss: it may come before each message.
            await self._waiting.sleep(slot)
        is_good = not slot or (await connection.is_ready() and self._may_take_next(connection))
        parcel = self._waiting.take() if is_good else None
        if parcel is None:
            self._lease.give_slot_back()
            return None
        return kept, parcel

    def _may_take_next(self, connection: Connection) -> bool:
        """Whether there is a parcel, and it may go over this connection.

        What goes in the clear since a handshake failed is only what has waited for a better one.
        """
        if not connection.is_fallback:
            return bool(self._waiting)
        first = self._waiting.first
        return first is not None and has_waited(first.job.envelope.arrived, datetime.now(UTC))

    async def _may_go_on(self, connection: Connection) -> bool:
        """Wait for the slot of the rest of a parcel, which is a message more; whether it may go next."""
        if self._ahead or self._served >= self._most or self._waiting.is_closed:
            return False
        slot = self._lease.take_slot()
        if not slot:
            return slot is not None
        await self._waiting.sleep(slot)
        if not self._waiting.is_closed and await connection.is_ready():
            return True
        self._lease.give_slot_back()
        return False

    async def _serve(self, reached: Reached, parcel: Parcel, *, has_begun: bool) -> bool:
        """Carry one parcel, in as many transactions as the exchanger wants; whether the connection goes on."""
        rest: Parcel | None = parcel
        connection, is_first = reached.connection, True
        while rest is not None:
            if not is_first and not await self._may_go_on(connection):
                self._waiting.put_back(rest)
                break
            self._parcel = parcel = rest
            carried: Carried | None = None
            try:
                if not has_begun:
                    self._begins()
                    carried = await begin(self._means, reached, parcel, is_kept=self._is_kept)
                if carried is None:
                    carried = await conclude(self._means, reached, parcel, is_kept=self._is_kept)
            except Exception as error:
                self._means.bug(f"delivery of {parcel.job.id}", error)
                # The conversation has to know, or what has begun behind this would go on.
                connection.give_up(INTERNAL)
                carried = Carried(refusal(parcel, INTERNAL, reached.via, datetime.now(UTC)))
            self._parcel = None
            if connection.dots:
                connection.dots -= 1
            if carried.outcomes is None:
                self._waiting.put_back(parcel)
                self._lease.give_slot_back()
                self._served -= 1
                if has_begun:
                    self._hop.lost_following(connection)
                return False
            self._is_kept = True
            rest, has_begun, is_first = carried.rest, False, False
            if rest is not None:
                self._means.divide(parcel)
            told = partial(reached.dialogues, carried.transcript)
            self._means.report(parcel, with_transcript(carried.outcomes, told), reached.via)
            if carried.is_lost:
                self._employer.lost()
            else:
                self._employer.carried(carried.outcomes)
        return True
