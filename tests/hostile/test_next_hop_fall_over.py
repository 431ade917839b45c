"""A hostile next hop before MAIL: the mail goes to the next exchanger in the same attempt, and goes once."""

from collections.abc import Iterator

import pytest

from relayd.spool.outcome import Kind
from tests.deliver.running import run
from tests.deliver.town import FIRST, SECOND, TWO_TIERS, Surroundings, Town, surroundings
from tests.hostile.next_hop import MAIL, Case
from tests.hostile.next_hop_cases import CONTENTS, DOTS, GREETINGS, HELLOS, TRANSACTIONS
from tests.hostile.next_hop_tls_cases import TLS
from tests.hostile.next_hop_town import by_recipient, carry, patience

# Where an end comes behind a good answer to EHLO, it may come before MAIL or after it.
BEFORE_MAIL = [
    case
    for case in (*GREETINGS, *HELLOS, *TLS)
    if case.kinds[0] is Kind.DEFERRED and case.mail == MAIL and not case.name.startswith("250 to EHLO and close")
]


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """A hostile exchanger, and a good one of a worse preference."""
    with surroundings(tmp_path_factory.mktemp("two"), TWO_TIERS, FIRST, SECOND) as made:
        yield made


def carried(around: Surroundings, case: Case) -> Town:
    """A message that meets the hostile one first."""

    async def main() -> Town:
        town = around.town(**patience(case))
        await carry(town, case)
        return town

    case.set_up(around.exchangers[0])
    return run(main)


@pytest.mark.long
@pytest.mark.parametrize("case", BEFORE_MAIL, ids=[case.name for case in BEFORE_MAIL])
def test_what_an_exchanger_does_before_mail_leaves_it_to_the_next(around: Surroundings, case: Case) -> None:
    """Both recipients get it from there, in one transaction."""
    _, good = around.exchangers
    before = len(good.messages)
    outcomes = by_recipient(carried(around, case))
    assert [(each.kind, each.exchanger) for each in outcomes] == [(Kind.DELIVERED, "two.example.net")] * 2
    assert len(good.messages) == before + 1


@pytest.mark.long
@pytest.mark.parametrize("case", [*TRANSACTIONS, *CONTENTS, *DOTS], ids=lambda case: case.name)
def test_what_an_exchanger_does_from_mail_on_is_no_other_ones(around: Surroundings, case: Case) -> None:
    """The attempt ends there (RFC 5321 section 3.8), and nobody gets the mail twice."""
    _, good = around.exchangers
    before = good.connections
    outcomes = by_recipient(carried(around, case))
    assert {each.exchanger for each in outcomes} == {"one.example.net"}
    assert good.connections == before
