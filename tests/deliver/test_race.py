"""A race: who starts when, who wins, and what is told of the others; on real sockets where a socket matters."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.connecting import connect
from relayd.deliver.connection import Connection, Manner
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.deliver.race import LEAST_HEAD_START, Raced, head_start, race
from relayd.smtp.client import Over
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript
from tests.deliver.running import on_each_loop, run, turn
from tests.world.exchanger import Exchanger

REFUSED = reply(451, "4.4.1", "refused")
BUSY = reply(421, None, "busy")
SIX, FOUR, OTHER, LAST = (
    Candidate(10, "mx.test", ip_address(address), 25)
    for address in ("2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3")
)
LONG = 1e6


async def _ready(connection: Connection) -> Connection | Reply:
    return await connection.opening() or connection


class Silent(Connection):
    """One that is connected to nobody, and remembers how it was left."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(candidate, Manner(), Limits(), Transcript())
        self.was_left = False

    def leave(self) -> "asyncio.Future[None]":
        """As it would."""
        self.was_left = True
        return self._loop.create_future()


@dataclass
class Course:
    """Addresses that connect, or are refused, when the test says so."""

    head_starts: dict[Candidate, float] = field(default_factory=dict)
    refusing: dict[Candidate, Reply] = field(default_factory=dict)
    attempts: list[Candidate] = field(default_factory=list)
    made: list[Silent] = field(default_factory=list)
    asked: list[Connection] = field(default_factory=list)
    stubborn: bool = False

    def __post_init__(self) -> None:
        self._ends: dict[Candidate, asyncio.Future[Reply | None]] = {}

    def run(self, *candidates: Candidate) -> "asyncio.Task[Raced]":
        """Start."""
        return asyncio.ensure_future(race(candidates, self._open, self._after, self._make_ready))

    def ends(self, candidate: Candidate, answer: Reply | None = None) -> None:
        """It is connected, or refused for this."""
        self._ends[candidate].set_result(answer)

    @property
    def under_way(self) -> list[Candidate]:
        """Who is being connected to."""
        return [candidate for candidate, end in self._ends.items() if not end.done()]

    def is_ending(self, candidate: Candidate) -> bool:
        """Whether it is told to end, and has not noticed yet."""
        return self._ends[candidate].cancelled() and candidate not in [each.candidate for each in self.made]

    async def _open(self, candidate: Candidate) -> Connection | Reply:
        self.attempts.append(candidate)
        end: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._ends[candidate] = end
        try:
            answer = await end
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            answer = None
        if answer is not None:
            return answer
        self.made.append(Silent(candidate))
        return self.made[-1]

    def _after(self, candidate: Candidate) -> float:
        return self.head_starts.get(candidate, LONG)

    async def _make_ready(self, connection: Connection) -> Connection | Reply:
        self.asked.append(connection)
        return self.refusing.get(connection.candidate, connection)


def winner(raced: Raced) -> Candidate | None:
    """Whose connection it is."""
    return None if raced.connection is None else raced.connection.candidate


@pytest.mark.parametrize(("connect_s", "seconds"), [(None, 0.25), (0.0, 0.25), (0.125, 0.25), (0.2, 0.4)])
def test_a_head_start_is_a_quarter_of_a_second_at_least(connect_s: float | None, seconds: float) -> None:
    """RFC 8305 section 5; an address that is far away has twice its own time."""
    assert head_start(connect_s) == pytest.approx(seconds)
    assert LEAST_HEAD_START == 0.25


def test_the_first_address_is_the_only_one_while_it_has_its_head_start() -> None:
    """Nobody is connected to in vain."""

    async def main() -> None:
        course = Course()
        racing = course.run(SIX, FOUR)
        await turn()
        assert course.attempts == [SIX]
        course.ends(SIX)
        raced = await racing
        assert (winner(raced), raced.failures, raced.outrun) == (SIX, (), ())
        assert course.attempts == [SIX]

    run(main)


def test_the_next_address_overtakes_a_silent_one() -> None:
    """After the head start; the silent one is given up, and told as outrun."""

    async def main() -> None:
        course = Course({SIX: 0.0})
        racing = course.run(SIX, FOUR)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        course.ends(FOUR)
        raced = await racing
        assert (winner(raced), raced.failures, raced.outrun) == (FOUR, (), (SIX,))
        assert not course.under_way or course._ends[SIX].cancelled()

    run(main)


def test_an_address_that_started_later_is_not_outrun() -> None:
    """It had no head start, and nothing is known of it."""

    async def main() -> None:
        course = Course({SIX: 0.0})
        racing = course.run(SIX, FOUR)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        course.ends(SIX)
        raced = await racing
        assert (winner(raced), raced.failures, raced.outrun) == (SIX, (), ())

    run(main)


def test_a_refusal_starts_the_next_address_at_once() -> None:
    """RFC 8305 section 5; with the reason of each that failed."""

    async def main() -> None:
        course = Course()
        racing = course.run(SIX, FOUR)
        await turn()
        course.ends(SIX, REFUSED)
        await turn()
        assert course.attempts == [SIX, FOUR]
        course.ends(FOUR)
        raced = await racing
        assert (winner(raced), raced.failures) == (FOUR, ((SIX, REFUSED),))

    run(main)


def test_there_are_never_more_than_two_sockets() -> None:
    """The third address waits for one of the two to end."""

    async def main() -> None:
        course = Course(dict.fromkeys((SIX, FOUR, OTHER, LAST), 0.0))
        racing = course.run(SIX, FOUR, OTHER, LAST)
        for _ in range(100):
            await asyncio.sleep(0)
        assert course.under_way == [SIX, FOUR]
        course.ends(FOUR, REFUSED)
        for _ in range(100):
            await asyncio.sleep(0)
        assert course.under_way == [SIX, OTHER]
        course.ends(OTHER, REFUSED)
        await turn()
        course.ends(SIX, REFUSED)
        await turn()
        course.ends(LAST, REFUSED)
        raced = await racing
        assert winner(raced) is None
        assert [candidate for candidate, _ in raced.failures] == [FOUR, OTHER, SIX, LAST]

    run(main)


def test_a_loser_that_did_connect_is_left_in_order() -> None:
    """Both in the same turn: the first one wins."""

    async def main() -> None:
        course = Course({SIX: 0.0})
        racing = course.run(SIX, FOUR)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        course.ends(FOUR)
        course.ends(SIX)
        raced = await racing
        assert (winner(raced), raced.outrun) == (SIX, ())
        assert [(each.candidate, each.was_left) for each in course.made] == [(FOUR, True), (SIX, False)]

    run(main)


def test_a_loser_that_connects_while_it_is_given_up_is_left_in_order() -> None:
    """It cannot be cancelled any more."""

    async def main() -> None:
        course = Course({SIX: 0.0}, stubborn=True)
        racing = course.run(SIX, FOUR)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        course.ends(FOUR)
        assert winner(await racing) == FOUR
        assert [(each.candidate, each.was_left) for each in course.made] == [(FOUR, False), (SIX, True)]

    run(main)


def test_the_others_go_on_when_the_winner_does_not_come_to_mail() -> None:
    """With the one that it outran too, which is none of those that were outrun when it has failed."""

    async def main() -> None:
        course = Course({SIX: 0.0}, refusing={FOUR: BUSY})
        racing = course.run(SIX, FOUR, OTHER)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        course.ends(FOUR)
        while course.attempts != [SIX, FOUR, SIX]:
            await asyncio.sleep(0)
        course.ends(SIX, REFUSED)
        await turn()
        course.ends(OTHER)
        raced = await racing
        assert (winner(raced), raced.failures) == (OTHER, ((FOUR, BUSY), (SIX, REFUSED)))
        assert raced.outrun == ()

    run(main)


def test_the_others_do_not_go_on_when_it_has_taken_too_long() -> None:
    """An exchanger may have twenty addresses, each of which takes the connection and says nothing."""

    async def main() -> None:
        course = Course(refusing={SIX: BUSY, FOUR: BUSY})
        times = iter([True, False])
        racing = asyncio.ensure_future(
            race([SIX, FOUR, OTHER], course._open, course._after, course._make_ready, lambda: next(times))
        )
        await turn()
        course.ends(SIX)
        await turn()
        course.ends(FOUR)
        raced = await racing
        assert (winner(raced), raced.failures, raced.outrun) == (None, ((SIX, BUSY), (FOUR, BUSY)), ())
        assert course.attempts == [SIX, FOUR]

    run(main)


def test_a_race_that_is_given_up_leaves_nothing_under_way() -> None:
    """A stop must not leave sockets behind."""

    async def main() -> None:
        course = Course({SIX: 0.0})
        racing = course.run(SIX, FOUR)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        assert all(end.cancelled() for end in course._ends.values())

    run(main)


def test_a_race_that_is_given_up_while_its_losers_end_keeps_no_connection() -> None:
    """Neither the winner's, which nobody is there to have, nor one that came in that moment."""

    async def main() -> None:
        course = Course({SIX: 0.0}, stubborn=True)
        racing = course.run(SIX, FOUR)
        while FOUR not in course.attempts:
            await asyncio.sleep(0)
        course.ends(FOUR)
        while not course.is_ending(SIX):
            await asyncio.sleep(0)
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        await turn()
        assert [(each.candidate, each.was_left) for each in course.made] == [(FOUR, True), (SIX, True)]

    run(main)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["connects", "is refused", "refuses us"]), max_size=5), st.randoms())
def test_however_it_goes_one_connection_comes_out_and_none_is_lost(ways: list[str], dice: random.Random) -> None:
    """Whoever comes first, in any order: two sockets at most, and each connection is used or left in order."""
    candidates = [Candidate(10, "mx.test", ip_address(f"192.0.2.{place}"), 25) for place in range(len(ways))]
    going = dict(zip(candidates, ways, strict=True))

    async def main() -> None:
        refusing = {each: BUSY for each, way in going.items() if way == "refuses us"}
        course = Course(dict.fromkeys(candidates, 0.0), refusing)
        racing = course.run(*candidates)
        while not racing.done():
            for _ in range(dice.randrange(1, 30)):
                await asyncio.sleep(0)
            assert len(course.under_way) <= 2
            if course.under_way:
                ending = dice.choice(course.under_way)
                course.ends(ending, REFUSED if going[ending] == "is refused" else None)
        raced = racing.result()
        assert (raced.connection is not None) == ("connects" in ways)
        assert all(made.was_left != (made in course.asked) for made in course.made)
        assert course.asked[-1:] == [raced.connection] or raced.connection is None
        failed = [candidate for candidate, _ in raced.failures]
        assert len(failed) == len(set(failed))
        assert all(going[each] != "connects" for each in failed)
        assert not set(failed) & set(raced.outrun)
        assert winner(raced) not in (*failed, *raced.outrun)
        if raced.connection is None:
            assert set(failed) == set(candidates)

    run(main)


def test_nobody_runs_a_race_without_candidates() -> None:
    """And nobody wins it."""

    async def main() -> None:
        assert await Course().run() == Raced(None)

    run(main)


# On sockets.


def _opening(limits: Limits) -> Callable[[Candidate], "asyncio.Future[Connection | Reply]"]:
    return lambda candidate: asyncio.ensure_future(
        connect(candidate, Manner("relay.test"), limits=limits, transcript=Transcript(time.monotonic))
    )


async def _race(candidates: Sequence[Candidate], after: float) -> Raced:
    return await race(candidates, _opening(Limits()), lambda _: after, _ready)


def _at(exchanger: Exchanger) -> Candidate:
    return Candidate(10, "mx.test", ip_address("127.0.0.1"), exchanger.port)


@on_each_loop
def test_a_slow_greeting_is_no_reason_to_connect_to_another(loop: str) -> None:
    """Who is connected has won; never more than one transaction comes of a race."""

    async def main() -> None:
        raced = await _race([_at(first), _at(second)], 0.01)
        assert raced.connection is not None
        await raced.connection.leave()

    with Exchanger(greeting_delay=0.1) as first, Exchanger() as second:
        run(main, loop)
        assert (first.connections, second.connections) == (1, 0)


@on_each_loop
def test_an_address_that_refuses_us_in_its_greeting_gives_way(loop: str) -> None:
    """As one that refuses the connection."""

    async def main() -> None:
        raced = await _race([_at(first), _at(second)], LONG)
        assert winner(raced) == _at(second)
        assert [str(answer) for _, answer in raced.failures] == ["554 no"]
        assert raced.connection is not None
        await raced.connection.leave()

    with Exchanger(replies={"CONNECT": b"554 no\r\n"}) as first, Exchanger() as second:
        run(main, loop)


@on_each_loop
def test_one_that_is_left_before_its_greeting_is_told_quit_after_it(loop: str) -> None:
    """And not EHLO: section 4.3.1 has a client wait for the greeting."""

    async def main() -> None:
        connection = await connect(_at(exchanger), Manner("relay.test"), limits=Limits())
        assert isinstance(connection, Connection)
        await connection.leave()
        assert isinstance(connection.conversation.next_event(), Over)

    with Exchanger(greeting_delay=0.05) as exchanger:
        run(main, loop)
        assert exchanger.sessions[0].lines == [b"QUIT"]
