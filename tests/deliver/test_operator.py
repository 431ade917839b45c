"""An operator's orders, on a spool that notes what it is asked."""

import dataclasses
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.channel import Operate
from relayd.base.config import load
from relayd.deliver.notices import Notices
from relayd.deliver.operator import BUSY, DONE, GONE, Operator
from relayd.spool.errors import SpoolFailed
from relayd.spool.outcome import Kind
from tests.deliver.fake_spool import FakeSpool
from tests.deliver.making import ID, job

OTHER = "01jwn9q3w5zabcdeg"


@pytest.fixture
def spool() -> FakeSpool:
    """One that has a message with two recipients."""
    return FakeSpool(claims={ID: job("bob@example.net", "carol@example.net")})


def carry_out(spool: FakeSpool, order: Operate, written: list[events.Event] | None = None) -> tuple[str, ...]:
    """The answers."""
    config = dataclasses.replace(load(None, spool=Path("spool")), hostname="relay.example.org")
    told: list[events.Event] = [] if written is None else written
    return Operator(spool, Notices(config, spool), told.append).carry_out(order)


def test_a_message_is_removed_and_nobody_is_told(spool: FakeSpool) -> None:
    """The spool ends it, and the log says who did."""
    written: list[events.Event] = []
    assert carry_out(spool, Operate(1, "remove", (ID,)), written) == (DONE,)
    assert [each.id for each in spool.removed] == [ID]
    assert spool.settled == []
    assert [type(event) for event in written] == [events.MessageRemoved]


def test_a_message_that_is_removed_with_notice_fails_for_all(spool: FakeSpool) -> None:
    """One notification about both recipients, to the sender."""
    assert carry_out(spool, Operate(1, "remove", (ID,), notify=True)) == (DONE,)
    (settlement,) = spool.settled
    (outcome,) = settlement.outcomes
    assert (outcome.kind, outcome.recipients, outcome.reply.code) == (Kind.FAILED, (0, 1), 550)
    (notice,) = settlement.notices
    assert notice.envelope.recipients[0].address == "alice@example.org"
    assert b"given up by the operator" in notice.mail_data


def test_one_recipient_is_given_up(spool: FakeSpool) -> None:
    """In any case of letters; the other one stays open."""
    assert carry_out(spool, Operate(1, "fail", (ID,), "CAROL@example.net")) == (DONE,)
    assert spool.settled[0].outcomes[0].recipients == (1,)


def test_a_recipient_that_is_not_open_is_named_and_the_message_goes_on(spool: FakeSpool) -> None:
    """The claim is given back."""
    assert carry_out(spool, Operate(1, "fail", (ID,), "dave@example.net")) == (
        "<dave@example.net> is no open recipient",
    )
    assert len(spool.returned) == 1
    assert spool.settled == []


def test_each_id_has_its_own_answer(spool: FakeSpool) -> None:
    """In flight, unknown, and one that the disk does not give."""
    spool.claims |= {"busy": None, "bad": OSError(5, "Input/output error")}
    order = Operate(1, "remove", ("busy", OTHER, "bad", ID))
    assert carry_out(spool, order) == (BUSY, GONE, "[Errno 5] Input/output error", DONE)


def test_what_the_spool_refuses_is_the_answer_and_the_claim_is_given_back(spool: FakeSpool) -> None:
    """The message can be attempted again."""
    spool.trouble = [SpoolFailed("ledger: No space left on device")]
    assert carry_out(spool, Operate(1, "remove", (ID,))) == ("ledger: No space left on device",)
    assert len(spool.returned) == 1
