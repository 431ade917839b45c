"""Partial results: whatever replies the recipients of one message get, each ends in the class of its own."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from relayd.spool.outcome import Kind
from tests.deliver.running import run
from tests.deliver.town import Town, surroundings
from tests.hostile.next_hop_answers import PIPELINING, Answered, assert_answered, carry, kind_of, message, obedient

# What happens to the mail of those that were taken: a reply to DATA or to the final dot, or none any more.
ENDS = ["data.451", "data.554", "dot.250", "dot.451", "dot.452", "dot.552", "dot.554", "dot.close"]
CODES = ["250", "251", "450", "452", "550", "552"]


def expected(end: str, codes: Sequence[str]) -> Iterator[Answered]:
    """The class of each recipient, and how its reply begins.

    A 452 or 552 after a recipient that was taken means too many recipients (section 4.5.3.1.10): it goes again
    once the mail data was answered, and is believed when it comes for the first of a transaction. Where the
    exchanger has no time now, or no connection is left, the recipient waits, whatever it was called.
    """
    goes_again = end in ("dot.250", "dot.552", "dot.554")
    for place, code in enumerate(codes):
        if not code.startswith("2"):
            is_too_many = code in ("452", "552") and any(each.startswith("2") for each in codes[:place])
            if is_too_many and not goes_again:
                yield Kind.DEFERRED, f"452 4.5.3 {place}"
            else:
                yield kind_of(code), f"{code} {place}"
        elif end.endswith("close"):
            yield Kind.IN_DOUBT, "451 4.4.2 lost the connection"
        else:
            yield kind_of(end[-3:]), f"{end[-3:]} the end"


@PIPELINING
@pytest.mark.parametrize("end", ENDS)
def test_all_combinations_of_replies_end_exactly(tmp_path: Path, end: str, pipelining: bool) -> None:
    """Two recipients with each code, and every end of the transaction."""
    sent = [
        (message(number, end, codes), tuple(expected(end, codes)))
        for number, codes in enumerate(itertools.product(CODES, repeat=2))
    ]
    with surroundings(tmp_path) as around:
        obedient(around.exchangers[0], pipelining=pipelining)

        async def main() -> Town:
            town = around.town(idle=0.01)
            await carry(town, [each for each, _ in sent])
            return town

        assert_answered(run(main), sent)


@pytest.mark.parametrize("pipelining", [True, pytest.param(False, marks=pytest.mark.long)])
def test_three_recipients_with_all_codes_end_exactly(tmp_path: Path, pipelining: bool) -> None:
    """A refusal among those that are taken, at each place."""
    combinations = itertools.product(["dot.250", "dot.554", "dot.close"], itertools.product(CODES[1:], repeat=3))
    sent = [
        (message(number, end, codes), tuple(expected(end, codes)))
        for number, (end, codes) in enumerate(combinations)
    ]
    with surroundings(tmp_path) as around:
        obedient(around.exchangers[0], pipelining=pipelining)

        async def main() -> Town:
            town = around.town(idle=0.01)
            await carry(town, [each for each, _ in sent])
            return town

        assert_answered(run(main), sent)


@PIPELINING
@pytest.mark.parametrize("last", ["421", "close"])
def test_what_was_said_before_the_end_of_the_connection_stands(
    tmp_path: Path, last: str, pipelining: bool
) -> None:
    """A recipient refused before a 421 to another, or before the connection is lost, is; all others wait."""
    sent = []
    for number, (place, codes) in enumerate(
        itertools.product(range(3), itertools.product(["250", "450", "550"], repeat=3))
    ):
        said = (*codes[:place], last, *codes[place + 1 :])
        answers = [
            (kind_of(code), f"{code} {index}")
            if index < place and code != "250"
            else (Kind.DEFERRED, f"421 {place}" if last == "421" else "451 4.4.2 lost the connection")
            for index, code in enumerate(said)
        ]
        sent.append((message(number, "dot.250", said), answers))
    with surroundings(tmp_path) as around:
        obedient(around.exchangers[0], pipelining=pipelining)

        async def main() -> Town:
            town = around.town(idle=0.01)
            # One after the other, since a connection that is lost says nothing of the next message.
            for each, _ in sent:
                await carry(town, [each])
                town.ways.backoffs.reached("example.net")
            return town

        assert_answered(run(main), sent)
        assert around.exchangers[0].messages == []
