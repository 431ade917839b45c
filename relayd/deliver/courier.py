"""A courier: a task that carries parcels to one destination, over one connection at a time.

It takes parcel after parcel, keeps its connection while that is the one to use, and leaves when none comes.
Refuses to know the queue: what an attempt came to goes to `report`, once for each parcel that was taken and not
put back. From MAIL on there is no further exchanger in the same attempt (RFC 5321 section 3.8); a kept connection
that turns out to be gone before MAIL is answered was no attempt, and the parcel goes back to those that wait.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relayd.base import events
from relayd.deliver.connection import Connection
from relayd.deliver.hop import Hop, Reached, Unreached
from relayd.deliver.mail import Mail
from relayd.deliver.needs import Needs, missing, unfit
from relayd.deliver.parcel import Parcel, Via, outcomes_of, refusal, with_transcript
from relayd.deliver.waiting import Waiting
from relayd.deliver.ways import Ways
from relayd.smtp.client import Finished, NotAnOrder, Order, SendContent
from relayd.smtp.reply import Reply, reply
from relayd.spool.errors import SpoolError
from relayd.spool.outcome import Outcome

_GONE = reply(451, "4.4.2", "the exchanger closed the connection before MAIL")
INTERNAL = reply(451, "4.3.0", "internal error; the log says more")

Report = Callable[[Parcel, tuple[Outcome, ...], Via], None]


@dataclass(frozen=True)
class Means:
    """What all couriers share. `report` and `postpone` do not raise.

    A parcel that is postponed was not tried, and comes again at an instant. `promise`, where there is one, writes
    down before the mail data goes that it may have arrived; it raises SpoolError. `leaving` are the connections
    that have said QUIT.
    """

    ways: Ways
    mail: Mail
    report: Report
    postpone: Callable[[Parcel, datetime], None]
    promise: Callable[[Parcel, Via], Awaitable[None]] | None
    bug: Callable[[str, Exception], None]
    leaving: set["asyncio.Future[None]"] = field(default_factory=set)


class Courier:
    """`arrived` is called each time that an exchanger is ready for MAIL."""

    def __init__(self, waiting: Waiting, hop: Hop, means: Means, arrived: Callable[[], None]) -> None:
        self._waiting = waiting
        self._hop = hop
        self._means = means
        self._limits = means.ways.limits
        self._arrived = arrived
        self._parcel: Parcel | None = None
        self._connection: Connection | None = None
        # Whether it had something behind it, a transaction or idle time: the exchanger may be tired of it.
        self._is_kept = False

    @property
    def is_connected(self) -> bool:
        """Whether an exchanger listens to it."""
        return self._connection is not None and self._connection.is_open

    @property
    def is_past_the_dot(self) -> bool:
        """Whether the exchanger may have the message: what it says, or has just said, must be reported."""
        return self.has_parcel and self._connection is not None and self._connection.has_sent_the_dot

    @property
    def has_parcel(self) -> bool:
        """Whether a transaction is under way."""
        return self._parcel is not None

    async def run(self) -> Unreached | None:
        """Carry until nothing waits; Unreached when no exchanger can be reached, with the parcels left waiting."""
        unreached: Unreached | None = None
        while unreached is None and self._waiting:
            async with self._means.ways.places:
                unreached = await self._go()
        return unreached

    async def _go(self) -> Unreached | None:
        """Once to an exchanger and back."""
        first = self._waiting.first
        if first is None:
            # Somebody took it while there was no place.
            return None
        reached = await self._hop.reach(first.job.id)
        if isinstance(reached, Unreached):
            return reached
        self._connection = reached.connection
        try:
            self._arrived()
            await self._use(reached)
            self._leave(reached.connection)
        except BaseException:
            reached.connection.abort()
            raise
        finally:
            self._connection = None
        return None

    def give_up(self, why: Reply) -> None:
        """The time for the final reply is up; the courier hears of it and reports what is in doubt."""
        if self._connection is not None:
            self._connection.give_up(why)

    def _leave(self, connection: Connection) -> None:
        """Say QUIT; nobody waits for the answer while there is mail to carry."""
        leaving, gone = self._means.leaving, connection.leave()
        leaving.add(gone)
        gone.add_done_callback(leaving.discard)

    async def _use(self, reached: Reached) -> None:
        """Carry parcels over one connection, as long as it is good and something comes."""
        self._is_kept = False
        for _ in range(self._limits.transactions):
            following = await self._next(reached)
            if following is None:
                return
            reached, parcel = following
            self._parcel = parcel
            # What is said from here on is about this parcel, and nothing before it about another.
            reached.connection.transcript.begin()
            try:
                outcomes = await self._carry(reached, parcel)
            except Exception as error:
                self._means.bug(f"delivery of {parcel.job.id}", error)
                reached.connection.abort()
                outcomes = refusal(parcel, INTERNAL, reached.via, datetime.now(UTC))
            self._parcel = None
            reached.connection.has_sent_the_dot = False
            if outcomes is None:
                self._waiting.put_back(parcel)
                return
            self._is_kept = True
            self._means.report(parcel, with_transcript(outcomes, reached.dialogues), reached.via)

    async def _next(self, reached: Reached) -> tuple[Reached, Parcel] | None:
        """The next parcel for this connection, and why this one; None when it has served."""
        connection = reached.connection
        kept: Reached | None = reached
        if self._is_kept:
            kept = self._hop.kept(reached) if await connection.is_ready() else None
        if kept is not None and not self._waiting:
            await self._waiting.come(self._limits.idle)
            self._is_kept = True
            # Much may have been learned of the other exchangers meanwhile.
            kept = self._hop.kept(reached)
        if kept is None or not await connection.is_ready():
            return None
        parcel = self._waiting.take()
        return None if parcel is None else (kept, parcel)

    async def _carry(self, reached: Reached, parcel: Parcel) -> tuple[Outcome, ...] | None:
        """One transaction: an outcome for each recipient; None when there was none, the connection being gone."""
        connection, ways = reached.connection, self._means.ways
        conversation = connection.conversation
        try:
            order = parcel.order
        except NotAnOrder as error:
            # Somebody has edited its file.
            return refusal(parcel, reply(554, "5.6.0", str(error)), Via(), datetime.now(UTC))
        needs = missing(order, conversation.extensions, ways.settings.eight_bit)
        refused = await self._unfit(order, needs, parcel, reached.via.exchanger) if needs else None
        if refused is not None:
            # The exchanger has said nothing of it: its name must not stand beside a reply that is ours.
            return refusal(parcel, refused, Via(), datetime.now(UTC))
        if not connection.is_open:
            # Reading from the disk took longer than the exchanger has patience.
            return None if self._is_kept else refusal(parcel, _GONE, reached.via, datetime.now(UTC))
        try:
            self._means.mail.reserve(parcel)
        except SpoolError as error:
            # Not tried: what is sent and not written down would be sent twice.
            ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
            return ()
        answers = conversation.answers
        conversation.begin(order)
        while not isinstance(event := await connection.event(), Finished):
            if not isinstance(event, SendContent):
                raise AssertionError(f"{event} in a transaction")
            if self._means.promise is not None and not await self._promised(reached, parcel):
                return ()
            await self._send(connection, parcel)
        if not connection.is_open and conversation.answers == answers:
            if self._is_kept:
                return None
            ways.latencies.failed(connection.candidate, ways.clock())
        reports = "DSN" in conversation.extensions
        return outcomes_of(parcel, event.result, reached.via, datetime.now(UTC), reports=reports)

    async def _unfit(self, order: Order, needs: Needs, parcel: Parcel, exchanger: str) -> Reply | None:
        """Why the mail must not go to this exchanger, which lacks what it may need."""
        try:
            return await unfit(order, needs, self._means.mail, parcel, exchanger)
        except (SpoolError, OSError) as error:
            # What could not be looked at does not go: reading it may succeed the next time, and then it would.
            self._means.ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
            return reply(451, "4.3.0", f"spool: {error}")

    async def _promised(self, reached: Reached, parcel: Parcel) -> bool:
        """Write down that the parcel may arrive; when that fails, it does not go, and was not tried."""
        assert self._means.promise is not None
        try:
            await self._means.promise(parcel, reached.via)
        except (SpoolError, OSError) as error:
            self._means.ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
            reached.connection.abort()
            return False
        return True

    async def _send(self, connection: Connection, parcel: Parcel) -> None:
        mail = self._means.mail
        mail_data = mail.cached(parcel)
        if mail_data is not None:
            connection.send_small_content(mail_data)
            return
        try:
            async with contextlib.aclosing(mail.stream(parcel)) as chunks:
                await connection.send_content(chunks)
        except (SpoolError, OSError) as error:
            # Without its end the exchanger takes none of it.
            self._means.ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
            connection.give_up(reply(451, "4.3.0", f"spool: {error}"))
