"""Probing: how long an address takes to greet right now, and whether it offers STARTTLS. It says EHLO and QUIT.

Refuses to know mail. Bounded in time by the limits that it is handed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from relayd.deliver.connecting import connect
from relayd.deliver.connection import Manner
from relayd.deliver.exchangers import Candidate
from relayd.deliver.ways import Ways
from relayd.smtp.reply import Reply
from relayd.smtp.transcript import Transcript

_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Probed:
    """What one address said. Without a greeting, `answer` is why."""

    greeting_s: float | None
    has_starttls: bool
    answer: str


async def probe(candidates: Sequence[Candidate], ways: Ways) -> dict[Candidate, Probed]:
    """Probe all of them, some at once, and let the ways' measures know."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(candidate: Candidate) -> Probed:
        async with places:
            return await _probe(candidate, ways)

    found = await asyncio.gather(*map(in_turn, candidates))
    return dict(zip(candidates, found, strict=True))


async def _probe(candidate: Candidate, ways: Ways) -> Probed:
    began = ways.clock()
    connection = await connect(
        candidate,
        Manner(ways.ehlo_name),
        ways.source_of(candidate),
        limits=ways.limits,
        transcript=Transcript(ways.clock),
    )
    if isinstance(connection, Reply):
        ways.latencies.failed(candidate, ways.clock(), began)
        return Probed(None, has_starttls=False, answer=str(connection))
    if connection.connect_s is not None:
        ways.latencies.connected(candidate, connection.connect_s, ways.clock())
    refusal = await connection.opening()
    if refusal is not None or connection.greeting_s is None:
        ways.latencies.failed(candidate, ways.clock(), began)
        connection.abort()
        return Probed(connection.greeting_s, has_starttls=False, answer=str(refusal))
    ways.latencies.greeted(candidate, connection.greeting_s, ways.clock())
    greeting = connection.conversation.greeting
    offers = "STARTTLS" in connection.conversation.extensions
    await connection.leave()
    return Probed(connection.greeting_s, has_starttls=offers, answer=str(greeting))
