"""A hop: how mail for one destination comes to an exchanger that is ready for it.

Look-ups, the choice, and one connection after another until an exchanger has answered EHLO: what fails before
MAIL falls over to the next exchanger. Refuses to know messages. A failure is `Unreached`, with the reply that the
mail which waits is given.
"""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from relayd.base import events
from relayd.base.sections import Route
from relayd.deliver.connection import Connection, connect
from relayd.deliver.exchangers import (
    Candidate,
    Exchanger,
    better_than_ours,
    of_family,
    select,
)
from relayd.deliver.parcel import Via
from relayd.deliver.ranking import Ranked, rank, why_keep
from relayd.deliver.ways import Ways
from relayd.smtp.client import Over
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript
from relayd.spool.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Unreached:
    """No exchanger came to MAIL: why, whose words these are, and what was said to all that were tried.

    It is contradicted when another connection came to MAIL in the same time.
    """

    answer: Reply
    via: Via = field(default_factory=Via)
    is_contradicted: bool = False
    dialogues: tuple[Dialogue, ...] = ()


@dataclass(frozen=True, slots=True)
class Reached:
    """A connection that is ready for MAIL, what it was chosen from, and why.

    `failed` are the dialogues with exchangers that were tried before this one.
    """

    connection: Connection
    candidates: tuple[Candidate, ...]
    via: Via
    failed: tuple[Dialogue, ...] = ()

    def dialogues(self) -> tuple[Dialogue, ...]:
        """What was said in this attempt so far."""
        return (*self.failed, _dialogue(self.connection.candidate, self.connection.transcript))


class Hop:
    """One destination's way; `route` takes the place of its MX records."""

    def __init__(self, destination: str, route: Route | None, ways: Ways) -> None:
        self._destination = destination
        self._route = route
        self._ways = ways
        self._arrivals = 0

    async def reach(self, message_id: str) -> Reached | Unreached:
        """Come to an exchanger; the log names the message that this is for."""
        before = self._arrivals
        reached = await self._reach(message_id)
        if isinstance(reached, Reached):
            self._arrivals += 1
            return reached
        return replace(reached, is_contradicted=self._arrivals != before)

    async def _reach(self, message_id: str) -> Reached | Unreached:
        ways = self._ways
        candidates = await self._candidates()
        if isinstance(candidates, Reply):
            return Unreached(candidates)
        ranked = rank(candidates, ways.latencies, ways.settings.rank, ways.clock(), ways.dice)
        refused = Unreached(reply(451, "4.4.1", "no exchanger"))
        failed: list[Dialogue] = []
        enough = ways.clock() + ways.limits.reach
        for candidate in ranked.candidates:
            if ways.clock() >= enough:
                break
            transcript = Transcript(ways.clock)
            connection = await self._greet(candidate, transcript)
            if isinstance(connection, Connection):
                via = _via(connection, ranked, [each.exchanger for each in failed])
                return Reached(connection, ranked.candidates, via, tuple(failed))
            ways.latencies.failed(candidate, ways.clock())
            failed.append(_dialogue(candidate, transcript))
            refused = Unreached(_deferred(connection), Via(candidate.exchanger, str(candidate)))
            ways.write(
                events.DeliveryAttempted(
                    id=message_id,
                    destination=self._destination,
                    exchanger=candidate.exchanger,
                    address=str(candidate),
                    reply=str(connection),
                )
            )
        return replace(refused, dialogues=tuple(failed))

    def kept(self, reached: Reached) -> Reached | None:
        """The same with today's reason for it, or None when a new connection would go elsewhere."""
        ways = self._ways
        why = why_keep(
            reached.connection.candidate, reached.candidates, ways.latencies, ways.settings.rank, ways.clock()
        )
        if why is None:
            return None
        # What was tried before it was another attempt's.
        return replace(reached, via=replace(reached.via, chosen=f"kept connection: {why}"), failed=())

    async def _greet(self, candidate: Candidate, transcript: Transcript) -> Connection | Reply:
        """Connect, hear the greeting, say EHLO; a Reply when the exchanger does not come to MAIL."""
        ways = self._ways
        ways.counters.add("connections")
        ways.latencies.asked(candidate, ways.clock())
        sources = [each for each in ways.settings.source if each.version == candidate.address.version]
        connection = await connect(
            candidate, ways.ehlo_name, sources[0] if sources else None, limits=ways.limits, transcript=transcript
        )
        if isinstance(connection, Reply):
            return connection
        try:
            event = await connection.event()
        except BaseException:
            connection.abort()
            raise
        if not connection.is_open:
            # It may have said 250 to EHLO and hung up in the same breath; what ended it comes as a last event.
            while not isinstance(event, Over):
                event = await connection.event()
            return event.reason
        assert connection.greeting_s is not None
        ways.latencies.greeted(candidate, connection.greeting_s, ways.clock())
        return connection

    async def _candidates(self) -> Sequence[Candidate] | Reply:
        """All addresses that may be tried for this destination, or why none may."""
        ways, settings = self._ways, self._ways.settings
        if self._route is not None:
            return await self._candidates_of_route(self._route)
        if self._destination.startswith("["):
            exchangers: Sequence[Exchanger] | Reply = [Exchanger(0, self._destination)]
        else:
            exchangers = await ways.resolver.exchangers(self._destination)
        if not isinstance(exchangers, Reply):
            exchangers = better_than_ours(exchangers, ways.ourselves, settings.port)
        if isinstance(exchangers, Reply):
            return exchangers
        found = await self._look_up(exchangers, settings.port)
        if isinstance(found, Reply):
            return found
        return select(found, ways.ourselves, family=settings.ip, allow_private=settings.private_exchangers)

    async def _candidates_of_route(self, route: Route) -> Sequence[Candidate] | Reply:
        """A route may name private addresses. That it leads back here is the operator's slip: the mail waits."""
        found = await self._look_up([Exchanger(0, route.host)], route.port)
        if isinstance(found, Reply):
            return _deferred(found, "the route's host is not known")
        if any(self._ways.ourselves.listen_at(each) for each in found):
            return reply(451, "4.4.6", f"the route to {route.host}:{route.port} leads back to this host")
        allowed = of_family(found, self._ways.settings.ip)
        return _deferred(allowed, "the route cannot be taken") if isinstance(allowed, Reply) else allowed

    async def _look_up(self, exchangers: Iterable[Exchanger], port: int) -> list[Candidate] | Reply:
        """The addresses of all exchangers; those that have none are left out while another has one."""
        exchangers = list(exchangers)
        answers = await asyncio.gather(*(self._ways.resolver.addresses(each.name) for each in exchangers))
        found = [
            Candidate(exchanger.preference, exchanger.name, address, port)
            for exchanger, answer in zip(exchangers, answers, strict=True)
            if not isinstance(answer, Reply)
            for address in answer
        ]
        if found:
            return found
        refusals = [answer for answer in answers if isinstance(answer, Reply)]
        transient = [answer for answer in refusals if answer.is_transient]
        if transient:
            return transient[0]
        # The domain is there: what is missing is the way to it (RFC 3463 section 3.5).
        return reply(550, "5.4.4", *itertools.chain.from_iterable(each.lines for each in refusals[:3]))


def _via(connection: Connection, ranked: Ranked, failures: Sequence[str]) -> Via:
    """The connection's exchanger and why it was chosen, at least when it was opened."""
    candidate = connection.candidate
    silent = f"{', '.join(dict.fromkeys(failures))} did not answer; " if failures else ""
    return Via(candidate.exchanger, str(candidate), connection.greeting_s, silent + ranked.reason)


def _dialogue(candidate: Candidate, transcript: Transcript) -> Dialogue:
    at = datetime.now(UTC) - timedelta(seconds=transcript.seconds)
    return Dialogue(at=at, exchanger=candidate.exchanger, address=str(candidate), lines=transcript.lines())


def _deferred(answer: Reply, why: str = "refused before MAIL") -> Reply:
    """An exchanger that refuses the connection says nothing of a recipient: its 5yz is tried again later."""
    return reply(450, "4.4.0", f"{why}: {answer}") if answer.is_permanent else answer
