"""Connecting: from a candidate to a connection, or the reply that says why there is none."""

import asyncio
import os
import time

from relayd.deliver.connection import Connection, Manner
from relayd.deliver.exchangers import IP, Candidate
from relayd.deliver.limits import Limits
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript


async def connect(
    candidate: Candidate,
    manner: Manner,
    source: IP | None = None,
    *,
    limits: Limits,
    transcript: Transcript | None = None,
) -> Connection | Reply:
    """Connect to a candidate; a Reply says why not. `transcript`, which begins now, has it in either case."""
    transcript = transcript or Transcript(time.monotonic)
    connected = await _connect(candidate, manner, source, limits, transcript)
    if isinstance(connected, Reply):
        transcript.ended(connected)
    return connected


async def _connect(
    candidate: Candidate, manner: Manner, source: IP | None, limits: Limits, transcript: Transcript
) -> Connection | Reply:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.connect):
            _, connection = await loop.create_connection(
                lambda: Connection(candidate, manner, limits, transcript),
                str(candidate.address),
                candidate.port,
                local_addr=None if source is None else (str(source), 0),
            )
    except TimeoutError:
        return reply(451, "4.4.1", f"connect to {candidate}: timeout")
    except OSError as error:
        # The event loop puts words of its own into strerror, which do not say why.
        why = os.strerror(error.errno) if error.errno else str(error)
        return reply(451, "4.4.1", f"connect to {candidate}: {why}")
    return connection
