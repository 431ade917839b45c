"""A carriage: one parcel in one transaction over a connection that is ready, and what came of it.

What must not go to this exchanger, or cannot be read or written down, does not go. Refuses to know the queue and
how the connection came about. It raises nothing but bugs; who cancels it before the final dot leaves no doubt.
"""

import asyncio
import contextlib
from datetime import UTC, datetime

import msgspec

from relayd.base import events
from relayd.deliver.connection import Connection, Load
from relayd.deliver.hop import Reached
from relayd.deliver.means import Means
from relayd.deliver.needs import Needs, missing, unfit
from relayd.deliver.parcel import Parcel, Via, outcomes_of, refusal, rest_of
from relayd.smtp.client import Finished, NotAnOrder, Order, SendContent
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript
from relayd.spool.errors import SpoolError
from relayd.spool.outcome import Outcome

_GONE = reply(451, "4.4.2", "the exchanger closed the connection before MAIL")
_STOPPED = reply(451, "4.4.2", "stopped before the end of the mail data")


class Carried(msgspec.Struct, frozen=True):
    """An outcome for each recipient but those of `rest`, which go in a transaction of their own.

    Without any outcome the parcel was not tried; None: the kept connection was gone before MAIL was answered, and
    another one may be. `is_lost` is the same for a new connection, whose attempt it was. `transcript` is that of
    the transaction, where there was one.
    """

    outcomes: tuple[Outcome, ...] | None
    rest: Parcel | None = None
    is_lost: bool = False
    transcript: Transcript | None = None


def load_at_once(means: Means, connection: Connection, parcel: Parcel) -> Load | None:
    """The parcel's transaction, where it may begin with nothing to wait for or to tell before it.

    To be called where there is no promise to be written down.
    """
    try:
        order = parcel.order
        if missing(order, connection.conversation.extensions, means.ways.settings.eight_bit):
            return None
        means.mail.reserve(parcel)
    except (NotAnOrder, SpoolError):
        # It is told when the parcel's turn comes.
        return None
    return Load(order, means.mail.cached(parcel))


async def begin(means: Means, reached: Reached, parcel: Parcel, *, is_kept: bool) -> Carried | None:
    """Begin the transaction, or say why not; the connection is kept when it had something behind it before."""
    connection, ways = reached.connection, means.ways
    conversation = connection.conversation
    try:
        order = parcel.order
    except NotAnOrder as error:
        # Somebody has edited its file.
        return Carried(refusal(parcel, reply(554, "5.6.0", str(error)), Via(), datetime.now(UTC)))
    needs = missing(order, conversation.extensions, ways.settings.eight_bit)
    refused = await _unfit(means, order, needs, parcel, reached.via.exchanger) if needs else None
    if refused is not None:
        # The exchanger has said nothing of it: its name must not stand beside a reply that is ours.
        return Carried(refusal(parcel, refused, Via(), datetime.now(UTC)))
    if not connection.is_open:
        # Reading from the disk took longer than the exchanger has patience.
        return Carried(None if is_kept else refusal(parcel, _GONE, reached.via, datetime.now(UTC)))
    try:
        means.mail.reserve(parcel)
    except SpoolError as error:
        # Not tried: what is sent and not written down would be sent twice.
        ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
        return Carried(())
    # Where a promise comes before the final dot, the mail data waits for that.
    connection.begin(order, means.mail.cached(parcel) if means.promise is None else None)
    return None


async def conclude(means: Means, reached: Reached, parcel: Parcel, *, is_kept: bool) -> Carried:
    """The end of a transaction that has begun, and is the first of those that have not ended."""
    connection, ways = reached.connection, means.ways
    while not isinstance(event := await connection.event(), Finished):
        if not isinstance(event, SendContent):
            raise AssertionError(f"{event} in a transaction")
        try:
            if means.promise is not None and not await _promised(means, reached, parcel):
                return Carried(())
            await _send(means, connection, parcel)
        except asyncio.CancelledError:
            if means.promise is not None and not connection.dots:
                # The promise may be written down, and nobody is to decide about mail that cannot have arrived.
                means.report(parcel, refusal(parcel, _STOPPED, reached.via, datetime.now(UTC)), reached.via)
            raise
    is_lost = not connection.is_open and event.result.is_unheard
    if is_lost:
        if is_kept:
            return Carried(None)
        ways.latencies.failed(connection.candidate, ways.clock())
    # Where nobody listens any more, what was too many waits like all that was put off.
    rest = rest_of(parcel, event.result) if connection.is_open else None
    outcomes = outcomes_of(
        parcel,
        event.result,
        reached.via,
        datetime.now(UTC),
        reports="DSN" in connection.conversation.extensions,
        is_divided=rest is not None,
    )
    return Carried(outcomes, rest, is_lost, event.transcript)


async def _unfit(means: Means, order: Order, needs: Needs, parcel: Parcel, exchanger: str) -> Reply | None:
    """Why the mail must not go to this exchanger, which lacks what it may need."""
    try:
        return await unfit(order, needs, means.mail, parcel, exchanger)
    except (SpoolError, OSError) as error:
        # What could not be looked at does not go: reading it may succeed the next time, and then it would.
        means.ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
        return reply(451, "4.3.0", f"spool: {error}")


async def _promised(means: Means, reached: Reached, parcel: Parcel) -> bool:
    """Write down that the parcel may arrive; when that fails, it does not go, and was not tried.

    Who was refused, or goes in another transaction, gets nothing in this one.
    """
    assert means.promise is not None
    taken = tuple(parcel.recipients[place] for place in reached.connection.conversation.taken)
    try:
        await means.promise(msgspec.structs.replace(parcel, recipients=taken), reached.via)
    except (SpoolError, OSError) as error:
        means.ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
        reached.connection.abort()
        return False
    return True


async def _send(means: Means, connection: Connection, parcel: Parcel) -> None:
    mail = means.mail
    mail_data = mail.cached(parcel)
    if mail_data is not None:
        connection.send_small_content(mail_data)
        return
    try:
        async with contextlib.aclosing(mail.stream(parcel)) as chunks:
            await connection.send_content(chunks)
    except (SpoolError, OSError) as error:
        # Without its end the exchanger takes none of it.
        means.ways.write(events.SpoolTrouble(id=parcel.job.id, reason=str(error)))
        connection.give_up(reply(451, "4.3.0", f"spool: {error}"))
