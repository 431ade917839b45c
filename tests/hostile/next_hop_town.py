"""A case of a hostile next hop in a town: one message to it, and what became of that."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from relayd.base.sections import Route
from relayd.smtp.client import Phase
from relayd.spool.ids import Ids
from relayd.spool.outcome import Outcome
from tests.deliver.making import job, parcel
from tests.deliver.town import Town, left
from tests.hostile.next_hop import BOB, CAROL, LONG, MAIL, SHORT, Case

# The answer to what nobody waits for is not waited for long.
UNIMPORTANT = (Phase.RESET, Phase.QUIT)


def patience(case: Case) -> dict[str, Any]:
    """The limits of a town: short where this case is silent, and elsewhere so long that nobody can wait so."""
    usual = {each.name.lower(): SHORT if each in UNIMPORTANT else LONG for each in Phase}
    return {**usual, "idle": 0.001, "connect": LONG, **case.limits}


async def carry(town: Town, case: Case, route: Route | None = None) -> None:
    """One message for the case's recipients, until nobody is under way any more."""
    age = timedelta(minutes=6 if case.is_old else 0)
    message_id = Ids(lambda: time.time_ns() - age // timedelta(microseconds=1) * 1000).next()
    town.spool.mail[message_id] = case.mail
    town.spool.keeps_in_memory = case.mail == MAIL
    destination = town.destination("example.net", route)
    arrived, size = datetime.now(UTC) - age, sum(map(len, case.mail))
    destination.add(parcel(job(BOB, CAROL, message_id=message_id, arrived=arrived, size=size)))
    await town.reported(1)
    await left(town, destination)


def by_recipient(town: Town, count: int = 2) -> list[Outcome]:
    """The one outcome of each recipient; AssertionError when one has none or two."""
    outcomes = [each for _, found, _ in town.reports for each in found]
    told = sorted((place, number) for number, each in enumerate(outcomes) for place in each.recipients)
    assert [place for place, _ in told] == list(range(count)), outcomes
    return [outcomes[number] for _, number in told]


def assert_is_clean(outcome: Outcome) -> None:
    """Nothing that goes into journal, log and notifications leaves its line or moves a terminal's cursor."""
    texts = [*outcome.reply.lines, outcome.reply.enhanced or "", outcome.exchanger, outcome.address]
    texts += [line for dialogue in outcome.transcript for line in (*dialogue.lines, dialogue.exchanger)]
    for text in texts:
        assert text.isprintable(), text
