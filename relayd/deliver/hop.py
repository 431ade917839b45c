"""A hop: how mail for one destination comes to an exchanger that is ready for it.

Look-ups, the choice, and one exchanger after another until one has answered EHLO: what fails before MAIL falls
over to the next. Refuses to know messages. A failure is `Unreached`, with the reply that the mail which waits is
given.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

from relayd.base.sections import Route
from relayd.deliver.attempt import Attempt, Refusal, dialogue_of
from relayd.deliver.connection import Connection
from relayd.deliver.exchangers import Candidate
from relayd.deliver.finding import deferred, find
from relayd.deliver.parcel import Via
from relayd.deliver.ranking import Ranked, rank, why_keep
from relayd.deliver.security import approach
from relayd.deliver.ways import Ways
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript
from relayd.spool.dialogue import Dialogue

# So many messages go to an exchanger that is one of several before its greeting is heard again.
_MESSAGES_A_GREETING = 30
# A reason for keeping a connection is looked at again after so many seconds, since what is known ages; sooner
# while a greeting is waited for, which says something by not coming.
_REASON_HOLDS = 1.0
_REASON_HOLDS_ASKED = 0.002


@dataclass(frozen=True, slots=True)
class Unreached:
    """No exchanger came to MAIL: why, whose words these are, and what was said to all that were tried.

    It is contradicted when another connection came to MAIL in the same time.
    """

    answer: Reply
    via: Via = field(default_factory=Via)
    is_contradicted: bool = False
    dialogues: tuple[Dialogue, ...] = ()


class _Holds(msgspec.Struct, frozen=True):
    """How long a reason is good: while nothing is learned, until an instant, for so many transactions."""

    version: int
    until: float
    transactions: int


class Reached(msgspec.Struct, frozen=True):
    """A connection that is ready for MAIL, what it was chosen from, and why.

    `failed` are the dialogues with exchangers that were tried before this one.
    """

    connection: Connection
    candidates: tuple[Candidate, ...]
    via: Via
    failed: tuple[Dialogue, ...] = ()
    holds: _Holds | None = None

    def dialogues(self, transcript: Transcript | None = None) -> tuple[Dialogue, ...]:
        """What was said in this attempt; `transcript` is its transaction's, None where there was none."""
        return (*self.failed, dialogue_of(self.connection.candidate, transcript or self.connection.transcript))


class Hop:
    """One destination's way; `route` says what is special about it, and may take the place of its MX records."""

    def __init__(self, destination: str, route: Route | None, ways: Ways) -> None:
        self._destination = destination
        self._route = route
        self._ways = ways
        self._rule = ways.rule_of(route)
        self._share = ways.shares.of(destination)
        self._arrivals = 0
        # At which transaction an exchanger's greeting was heard last.
        self._heard: dict[str, int] = {}

    async def reach(
        self,
        message_id: str,
        admit: Callable[[str], None] = lambda exchanger: None,
        *,
        arrived: datetime | None = None,
        session: str = "",
    ) -> Reached | Unreached:
        """Come to an exchanger; the log names the message that this is for, which `arrived` then (None: now).

        `session` is the one in which it came.

        `admit` is asked before each exchanger; what it raises ends the attempt.
        """
        before = self._arrivals
        reached = await self._reach(message_id, session, admit, arrived or datetime.now(UTC))
        if isinstance(reached, Reached):
            self._arrivals += 1
            return reached
        return replace(reached, is_contradicted=self._arrivals != before)

    async def _reach(
        self, message_id: str, session: str, admit: Callable[[str], None], arrived: datetime
    ) -> Reached | Unreached:
        ways = self._ways
        candidates = await find(self._destination, self._route, ways)
        if isinstance(candidates, Reply):
            return Unreached(candidates)
        ranked = rank(
            candidates,
            ways.latencies,
            self._rule,
            ways.clock(),
            ways.dice,
            may_explore=self._share.may_explore,
            unheard=self._unheard(),
        )
        is_outward = self._route is None or not self._route.hosts
        attempt = Attempt(ways, self._destination, message_id, session, is_outward=is_outward)
        approached = approach(ways, message_id, arrived, self._route, attempt.transcript_of, session)
        if isinstance(approached, Reply):
            return Unreached(approached)
        enough = ways.clock() + ways.limits.reach
        groups = ranked.groups
        for place, addresses in enumerate(groups):
            if ways.clock() >= enough:
                break
            admit(addresses[0].exchanger)
            is_explored = ranked.is_exploring and place == 0
            self._share.explored += is_explored
            connection = await attempt.reach(
                addresses,
                approached,
                has_others=place + 1 < len(groups),
                is_explored=is_explored,
                enough=enough,
            )
            if connection is not None:
                self._heard[connection.candidate.exchanger] = self._share.transactions
                return _reached(connection, ranked, attempt.refusals)
        return _unreached(attempt.refusals)

    def _unheard(self) -> dict[str, int]:
        transactions = self._share.transactions
        return {exchanger: transactions - heard for exchanger, heard in self._heard.items()}

    def may_follow(self, connection: Connection) -> bool:
        """Whether its exchanger is sent commands along with mail data; not where that has failed."""
        return not self._ways.loners.has(connection.candidate.exchanger, self._ways.clock())

    def lost_following(self, connection: Connection) -> None:
        """Commands that went along with mail data were not answered."""
        self._ways.loners.add(connection.candidate.exchanger, self._ways.clock())

    def carries(self) -> None:
        """One more transaction begins on a connection that was reached here."""
        self._share.transactions += 1

    def kept(self, reached: Reached) -> Reached | None:
        """The same with today's reason for it, or None when a new connection would go elsewhere.

        None too when its exchanger, one of several, is to be measured again: a new connection does that.
        """
        ways, share, holds = self._ways, self._share, reached.holds
        now = ways.clock()
        if (
            holds is not None
            and holds.version == ways.latencies.version
            and now < holds.until
            and share.transactions < holds.transactions
        ):
            return reached
        candidate = reached.connection.candidate
        kept = why_keep(
            candidate,
            reached.candidates,
            ways.latencies,
            self._rule,
            now,
            may_explore=share.may_explore,
            unheard=self._unheard(),
        )
        if kept is None:
            return None
        enough = sys.maxsize
        if kept.has_choice:
            enough = self._heard.setdefault(candidate.exchanger, share.transactions) + _MESSAGES_A_GREETING
            if share.transactions >= enough:
                # The other connections wait for what this one's successor finds.
                self._heard[candidate.exchanger] = share.transactions
                return None
        is_asked = ways.latencies.of(candidate).is_asked(now)
        until = now + (_REASON_HOLDS_ASKED if is_asked else _REASON_HOLDS)
        # What was tried before it was another attempt's.
        return msgspec.structs.replace(
            reached,
            via=msgspec.structs.replace(reached.via, chosen=f"kept connection: {kept.reason}"),
            failed=(),
            holds=_Holds(ways.latencies.version, until, enough),
        )


def _reached(connection: Connection, ranked: Ranked, refusals: Sequence[Refusal]) -> Reached:
    """With the exchanger and why it was chosen, at least when the connection was opened."""
    candidate = connection.candidate
    silent = dict.fromkeys(
        str(each.candidate) if each.candidate.exchanger == candidate.exchanger else each.candidate.exchanger
        for each in refusals
    )
    failures = f"{', '.join(silent)} did not answer; " if silent else ""
    greeting_s = None if connection.greeting_s is None else round(connection.greeting_s, 6)
    via = Via(candidate.exchanger, str(candidate), greeting_s, failures + ranked.reason, connection.tls)
    return Reached(connection, ranked.candidates, via, tuple(each.dialogue for each in refusals))


def _unreached(refusals: Sequence[Refusal]) -> Unreached:
    """An exchanger that refuses the connection says nothing of a recipient."""
    if not refusals:
        return Unreached(reply(451, "4.4.1", "no exchanger"))
    last = refusals[-1]
    return Unreached(
        deferred(last.answer),
        Via(last.candidate.exchanger, str(last.candidate)),
        dialogues=tuple(each.dialogue for each in refusals),
    )
