"""An attempt: one exchanger's addresses, raced until one of them is ready for MAIL, and what is learned of each.

Refuses to know other exchangers, and messages beyond the ID and the session that the log names.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from errno import ECONNREFUSED
from functools import partial

from relayd.base import events
from relayd.deliver.connection import Connection
from relayd.deliver.exchangers import Candidate
from relayd.deliver.race import head_start, race
from relayd.deliver.security import Approach
from relayd.deliver.ways import Ways
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript
from relayd.spool.dialogue import Dialogue

# For an address that failed the last time, or is only to be measured, while another may take the mail: the first
# packet is sent thrice in it.
_IMPATIENT_SECONDS = 5.0
_REFUSED = os.strerror(ECONNREFUSED)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An address that did not come to MAIL: why, and what was said."""

    candidate: Candidate
    answer: Reply
    dialogue: Dialogue


class Attempt:
    """For one message to one destination. It `is_outward` when the exchangers are not the operator's own."""

    def __init__(self, ways: Ways, destination: str, message_id: str, session: str, *, is_outward: bool) -> None:
        self._ways = ways
        self._destination = destination
        self._message_id = message_id
        self._session = session
        self._is_outward = is_outward
        self._has_others = self._is_explored = False
        self._transcripts: dict[Candidate, Transcript] = {}
        self._began: dict[Candidate, float] = {}
        self._connected: set[Candidate] = set()
        self.refusals: list[Refusal] = []

    async def reach(
        self,
        addresses: Sequence[Candidate],
        approach: Approach,
        *,
        has_others: bool,
        is_explored: bool,
        enough: float,
    ) -> Connection | None:
        """Come to MAIL at one of an exchanger's addresses; why each of the others failed is in `refusals`.

        `has_others` is whether the mail can go elsewhere when it does not, `is_explored` whether it would be
        better off there. After `enough`, an instant, no further address has its turn.
        `approach` begins its transcripts with `transcript_of`.
        """
        self._has_others = has_others or len(addresses) > 1
        self._is_explored = is_explored
        # At once, since others may choose before the race begins.
        self._ways.latencies.asked(addresses[0], self._ways.clock())
        raced = await race(
            addresses,
            partial(self._open, approach),
            self._head_start,
            partial(self._make_ready, approach),
            lambda: self._ways.clock() < enough,
        )
        for candidate, answer in raced.failures:
            self._refused(candidate, answer)
        for candidate in raced.outrun:
            self._outrun(candidate)
        return raced.connection

    def transcript_of(self, candidate: Candidate) -> Transcript:
        """A transcript that begins now."""
        transcript = self._transcripts[candidate] = Transcript(self._ways.clock)
        return transcript

    async def _open(self, approach: Approach, candidate: Candidate) -> Connection | Reply:
        ways = self._ways
        ways.counters.add("connections")
        began = self._began[candidate] = ways.clock()
        limits = ways.limits
        known = ways.latencies.of(candidate)
        if self._has_others and (known.circuit.failures or (self._is_explored and not known.samples)):
            limits = replace(limits, connect=min(limits.connect, _IMPATIENT_SECONDS))
        ways.latencies.asked(candidate, began)
        connection = await approach.open(candidate, limits)
        now = ways.clock()
        if isinstance(connection, Connection):
            self._connected.add(candidate)
            ways.latencies.connected(candidate, now - began, now)
        if self._is_outward:
            self._look_outward(connection, now, has_timed_out=now - began >= limits.connect)
        return connection

    async def _make_ready(self, approach: Approach, connection: Connection) -> Connection | Reply:
        """Hear the greeting and all that comes before MAIL; a Reply when the exchanger does not come to it."""
        ready = await approach.ready(connection)
        if isinstance(ready, Reply):
            return ready
        assert ready.greeting_s is not None
        candidate, ways = ready.candidate, self._ways
        ways.counters.observe("greeting_seconds", ready.greeting_s)
        if ways.latencies.greeted(candidate, ready.greeting_s, ways.clock()):
            ways.write(
                events.CircuitClosed(
                    destination=self._destination, exchanger=candidate.exchanger, address=str(candidate)
                )
            )
        return ready

    def _head_start(self, candidate: Candidate) -> float:
        return head_start(self._ways.latencies.of(candidate).connect_s)

    def _refused(self, candidate: Candidate, answer: Reply) -> None:
        self._failed(candidate, answer)
        dialogue = dialogue_of(candidate, self._transcripts[candidate])
        self.refusals.append(Refusal(candidate, answer, dialogue))
        self._ways.write(
            events.DeliveryAttempted(
                id=self._message_id,
                session=self._session,
                destination=self._destination,
                exchanger=candidate.exchanger,
                address=str(candidate),
                reply=str(answer),
            )
        )

    def _outrun(self, candidate: Candidate) -> None:
        """It took longer than another address: that counts against it when it had its full head start."""
        seconds = self._ways.clock() - self._began[candidate]
        if candidate in self._connected or seconds < self._head_start(candidate):
            self._ways.latencies.dropped(candidate)
        else:
            self._failed(candidate, reply(451, "4.4.1", f"connect to {candidate}: slower than another address"))

    def _failed(self, candidate: Candidate, answer: Reply) -> None:
        latencies, now = self._ways.latencies, self._ways.clock()
        if latencies.failed(candidate, now, self._began[candidate]):
            circuit = latencies.of(candidate).circuit
            until = datetime.now(UTC) + timedelta(seconds=circuit.rests_until - now)
            self._ways.write(
                events.CircuitOpened(
                    destination=self._destination,
                    exchanger=candidate.exchanger,
                    address=str(candidate),
                    failures=circuit.failures,
                    until=until.isoformat(timespec="seconds"),
                    reply=str(answer),
                )
            )

    def _look_outward(self, connection: Connection | Reply, now: float, *, has_timed_out: bool) -> None:
        if has_timed_out and isinstance(connection, Reply):
            self._ways.outward.timed_out(self._destination, now)
        elif isinstance(connection, Connection) or _REFUSED in connection.lines[0]:
            # Any other error may be of this host's making.
            self._ways.outward.answered()


def dialogue_of(candidate: Candidate, transcript: Transcript) -> Dialogue:
    """What was said with one exchanger so far."""
    at = datetime.now(UTC) - timedelta(seconds=transcript.seconds)
    return Dialogue(at=at, exchanger=candidate.exchanger, address=str(candidate), lines=transcript.lines())
