"""A hostile next hop between two messages: what it says of one is never taken for a word about the other."""

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.smtp.client import Phase
from relayd.spool.outcome import Kind
from tests.deliver.running import run
from tests.deliver.town import Surroundings, Town, left, letters, surroundings
from tests.hostile.next_hop import SHORT
from tests.world.exchanger import EXTENSIONS, Action
from tests.world.session import Session
from tests.world.wire import Wire

PIPELINING = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
MESSAGES = 6
IMPATIENT: dict[str, Any] = {each.name.lower(): SHORT for each in Phase}
# What a server may say, to anything and at any moment.
WORDS = [
    b"220 a\r\n",
    b"250 b\r\n",
    b"250-c\r\n",
    b"250 2.0.0 d\n",
    b"354 e\r\n",
    b"421 4.3.2 f\r\n",
    b"450 4.2.1 g\r\n",
    b"452 4.5.3 h\r\n",
    b"550 5.1.1 i\r\n",
    b"552 5.2.2 j\r\n",
    b"2",
    b"50 k\r",
    b"\n",
    b"\r\n",
    b"\0\x1b\xff\r\n",
    b"x" * 20_000,
]


async def carry(town: Town, messages: int = MESSAGES) -> None:
    """So many messages, until nobody is under way any more."""
    destination = town.destination()
    for each in letters(messages):
        destination.add(each)
    await town.reported(messages)
    await left(town, destination)


def assert_is_honest(town: Town, around: Surroundings, messages: int = MESSAGES) -> None:
    """Each message has one outcome; what is delivered was taken as often, and what was taken is not as if not."""
    assert Counter(each.job.id for each, _, _ in town.reports) == {each.job.id: 1 for each in letters(messages)}
    assert town.bugs == []
    taken = sum(
        message.reply is not None and message.reply.startswith(b"2")
        for exchanger in around.exchangers
        for message in exchanger.messages
    )
    kinds = town.kinds()
    assert kinds[Kind.DELIVERED] <= taken
    assert taken <= kinds[Kind.DELIVERED] + kinds[Kind.IN_DOUBT]


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    """One exchanger."""
    with surroundings(tmp_path) as made:
        yield made


def carried(around: Surroundings, *, pipelining: bool) -> Town:
    """Messages over one connection at a time, as long as each is good."""

    async def main() -> Town:
        town = around.town("connections_per_destination = 1", idle=0.01, final=2.0, reset=SHORT, quit=SHORT)
        await carry(town)
        return town

    around.exchangers[0].extensions = tuple(each for each in EXTENSIONS if pipelining or each != b"PIPELINING")
    return run(main)


@PIPELINING
@pytest.mark.parametrize(
    "extra", [b"250 a\r\n", b"550 a\r\n", b"354 a\r\n", b"garbage\r\n", b"250-a\r\n" * 10_000]
)
def test_a_word_too_many_after_the_final_reply_ends_the_connection(
    around: Surroundings, extra: bytes, pipelining: bool
) -> None:
    """All messages arrive once, each over a connection that is not out of step."""
    (exchanger,) = around.exchangers
    exchanger.replies = {".": b"250 taken\r\n" + extra}
    town = carried(around, pipelining=pipelining)
    assert town.kinds() == {Kind.DELIVERED: MESSAGES}
    assert_is_honest(town, around)


@PIPELINING
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("extra", [b"250 a\r\n", b"354 a\r\n"])
def test_a_word_too_many_in_a_transaction_delivers_nothing_that_was_not_taken(
    around: Surroundings, verb: str, extra: bytes, pipelining: bool
) -> None:
    """It comes with every second transaction, so that each reply after it seems to be the one before."""

    def script(session: Session, line: bytes) -> bytes | None:
        usual = {"MAIL": b"250 m\r\n", "RCPT": b"250 r\r\n", "DATA": b"354 d\r\n"}[verb]
        mails = sum(each.startswith(b"MAIL") for each in session.lines)
        return extra + usual if mails % 2 == 0 else None

    (exchanger,) = around.exchangers
    exchanger.replies = {verb: script}
    town = carried(around, pipelining=pipelining)
    assert_is_honest(town, around)
    assert town.kinds()[Kind.DELIVERED] > 0


@pytest.mark.parametrize(
    "flood", [b"250-a\r\n" * 1000, b"\0" * 10_000, b"250 a\r\n" * 1000, b"x" * 100_000], ids=range(4)
)
def test_a_flood_between_two_messages_costs_nothing_but_the_connection(around: Surroundings, flood: bytes) -> None:
    """Without end, at the moment when nothing is asked."""

    def floods(wire: Wire) -> None:
        # In one piece, so that it is there before the next command goes.
        wire.send(b"250 taken\r\n" + flood)
        wire.send_endlessly(flood)

    around.exchangers[0].actions = {".": floods}
    tracemalloc.start()
    try:
        town = carried(around, pipelining=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert town.kinds() == {Kind.DELIVERED: MESSAGES}
    assert peak < 3_000_000


def test_a_server_that_says_yes_to_everything_takes_nothing(around: Surroundings) -> None:
    """250 to each line, the mail data's lines too: no mail is lost to it."""

    def agrees(wire: Wire) -> None:
        wire.send(b"250 PIPELINING\r\n")
        while True:
            wire.read_line()
            wire.send(b"250 yes\r\n")

    around.exchangers[0].actions = {"EHLO": agrees}
    assert carried(around, pipelining=True).kinds() == {Kind.DEFERRED: MESSAGES}


def speaks_at_random(dice: random.Random) -> Action:
    """Any words at any moment: as replies, between them, and before they are asked for."""

    def act(wire: Wire) -> None:
        while True:
            for _ in range(dice.choice([0, 1, 1, 1, 1, 1, 2])):
                wire.send(dice.choice(WORDS[:10] if dice.random() < 0.95 else WORDS))
            wire.read_line()

    return act


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 200))]
)
def test_every_message_has_one_outcome_whatever_a_server_says_at_random(around: Surroundings, seed: int) -> None:
    """From some step on, on some connections; and where it behaves, mail goes."""
    dice = random.Random(seed)
    verb = dice.choice(["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "354", "."])
    act = speaks_at_random(dice)

    async def main() -> Town:
        town = around.town("connections_per_destination = 3", idle=0.005, **IMPATIENT)
        await carry(town)
        return town

    around.exchangers[0].actions = {verb: act}
    town = run(main)
    assert Counter(each.job.id for each, _, _ in town.reports) == {each.job.id: 1 for each in letters(MESSAGES)}
    assert town.bugs == []
    for reply in town.replies():
        assert reply.isprintable()
