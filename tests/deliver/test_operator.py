"""An operator's orders, on a spool that notes what it is asked."""

import dataclasses
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.channel import Operate
from relayd.base.config import load
from relayd.deliver.digest import Digests
from relayd.deliver.notices import Notices
from relayd.deliver.operator import BUSY, DONE, GONE, Operator
from relayd.deliver.telling import Telling
from relayd.spool.errors import SpoolFailed
from relayd.spool.ids import derived
from relayd.spool.job import Settlement
from relayd.spool.outcome import Kind
from tests.deliver.fake_spool import FakeSpool
from tests.deliver.making import ID, job, outcome

OTHER = "01jwn9q3w5zabcdeg"


@pytest.fixture
def spool() -> FakeSpool:
    """One that has a message with two recipients."""
    return FakeSpool(claims={ID: job("bob@example.net", "carol@example.net")})


def carry_out(
    spool: FakeSpool, order: Operate, written: list[events.Event] | None = None, limit: int = 100
) -> tuple[str, ...]:
    """The answers."""
    config = dataclasses.replace(load(None, spool=Path("spool")), hostname="relay.example.org")
    told: list[events.Event] = [] if written is None else written
    telling = Telling(told.append, lambda name, count: None)
    return Operator(spool, Notices(config, spool), telling, Digests(limit)).carry_out(order)


def test_a_message_is_removed_and_nobody_is_told(spool: FakeSpool) -> None:
    """The spool ends it, and the log says who did."""
    written: list[events.Event] = []
    assert carry_out(spool, Operate(1, "remove", (ID,)), written) == (DONE,)
    assert [(each.id, notices) for each, notices in spool.removed] == [(ID, ())]
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


def test_the_sender_is_told_of_what_failed_before_the_message_is_removed(spool: FakeSpool) -> None:
    """With the message its journal goes, and with that what is owed: word of it goes first."""
    owed = outcome(Kind.FAILED, 0)
    spool.claims[ID] = job("bob@example.net", "carol@example.net", still_open=[1], attempt=2, owed=(owed,))
    written: list[events.Event] = []
    assert carry_out(spool, Operate(1, "remove", (ID,)), written) == (DONE,)
    ((_, (notice,)),) = spool.removed
    assert (notice.attempt, notice.envelope.recipients[0].address) == (1, "alice@example.org")
    assert b"bob@example.net" in notice.mail_data
    assert b"carol@example.net" not in notice.mail_data
    assert [type(event) for event in written] == [events.MessageRemoved, events.DsnQueued]


@pytest.mark.parametrize("order", [Operate(1, "remove", (ID,), notify=True), Operate(1, "fail", (ID,))])
def test_of_a_message_that_only_owes_word_nothing_else_is_given_up(spool: FakeSpool, order: Operate) -> None:
    """Its last recipient has failed, and the sender is told now rather than with the next summary."""
    spool.claims[ID] = job(still_open=[], attempt=2, owed=(outcome(Kind.FAILED, 0),))
    assert carry_out(spool, order) == (DONE,)
    (settlement,) = spool.settled
    assert (settlement.outcomes, [notice.attempt for notice in settlement.notices]) == ((), [1])


def test_that_nobody_can_be_told_is_logged(spool: FakeSpool) -> None:
    """A null reverse-path, and no postmaster: as after any other failure."""
    spool.claims[ID] = job(reverse_path=None)
    written: list[events.Event] = []
    assert carry_out(spool, Operate(1, "fail", (ID,)), written) == (DONE,)
    assert [type(event) for event in written] == [events.DeliveryFailed, events.DsnOmitted]


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
    """In flight, unknown, one that the disk does not give, and one that meets a bug."""
    spool.claims |= {"busy": None, "bad": OSError(5, "Input/output error"), "bug": ZeroDivisionError()}
    order = Operate(1, "remove", ("busy", OTHER, "bad", "bug", ID))
    assert carry_out(spool, order) == (BUSY, GONE, "[Errno 5] Input/output error", "ZeroDivisionError", DONE)


def test_what_the_spool_refuses_is_the_answer_and_the_claim_is_given_back(spool: FakeSpool) -> None:
    """The message can be attempted again."""
    spool.trouble = [SpoolFailed("ledger: No space left on device")]
    assert carry_out(spool, Operate(1, "remove", (ID,))) == ("ledger: No space left on device",)
    assert len(spool.returned) == 1


def three(spool: FakeSpool) -> Operate:
    """An order about three messages of one sender."""
    ids = ("one", "two", "three")
    spool.claims |= {each: job("bob@example.net", message_id=each) for each in ids}
    return Operate(1, "remove", ids, notify=True)


def test_beyond_so_many_an_hour_a_sender_is_told_of_all_in_one(spool: FakeSpool) -> None:
    """An order about thousands of messages must not send thousands of notifications."""
    written: list[events.Event] = []
    assert carry_out(spool, three(spool), written, limit=1) == (DONE,) * 3
    first, second, third = spool.settled
    assert [len(each.notices) for each in spool.settled] == [1, 1, 0]
    assert (first.told_by, second.told_by, third.told_by) == ("", derived("two", 1), derived("two", 1))
    summary = second.notices[0].mail_data
    assert b"2 messages" in summary
    assert b"Queue ID three" in summary
    queued = [event for event in written if isinstance(event, events.DsnQueued)]
    # One of its own, and one for the two others, which a line of each leads to.
    assert len({event.id for event in queued}) == 2
    assert [event.about for event in queued] == [
        event.id for event in written if isinstance(event, events.DeliveryFailed)
    ]
    assert [type(event) for event in written].count(events.DeliveryFailed) == 3


def test_without_the_summary_none_of_its_messages_is_given_up(spool: FakeSpool) -> None:
    """Nobody would be told of them."""
    spool.trouble = [SpoolFailed("the disk is gone")]
    assert carry_out(spool, three(spool), limit=0) == ("the disk is gone",) * 3
    assert (len(spool.returned), spool.settled) == (3, [])


class RefusingSpool(FakeSpool):
    """The disk fails for one message."""

    def settle(self, settlement: Settlement) -> bool:
        """Note it, or not."""
        if settlement.job.id == "two":
            raise SpoolFailed("EIO")
        return super().settle(settlement)


def test_a_message_that_the_disk_refuses_after_the_summary_comes_again() -> None:
    """Its sender has been told, and the next order finds it."""
    spool = RefusingSpool()
    assert carry_out(spool, three(spool), limit=0) == (DONE, "EIO", DONE)
    assert [each.id for each, _ in spool.returned] == ["two"]
