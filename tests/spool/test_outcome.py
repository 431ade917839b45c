"""The fold of a journal: who is open, what is owed, how many attempts there were."""

import pytest

from relayd.spool.errors import NotSound
from relayd.spool.outcome import Entry, Kind, Notified, Scheduled, fold
from tests.spool.exchange import START, outcome


def test_without_a_journal_all_are_open() -> None:
    """Nothing has been tried."""
    state = fold(3, [])
    assert (state.open, state.attempts, state.owed, state.next) == ((0, 1, 2), 0, (), None)


@pytest.mark.parametrize("kind", Kind)
def test_a_final_outcome_closes_its_recipients(kind: Kind) -> None:
    """Any other leaves them open."""
    state = fold(2, [outcome(kind, 1)])
    final = (Kind.DELIVERED, Kind.RELAYED, Kind.FAILED, Kind.EXPIRED)
    assert state.open == ((0,) if kind in final else (0, 1))
    assert state.last == {1: outcome(kind, 1)}


def test_who_has_the_mail_is_never_open_again() -> None:
    """Whatever is written after it."""
    assert fold(1, [outcome(Kind.DELIVERED, 0), outcome(Kind.DEFERRED, 0, attempt=2)]).open == ()


def test_failures_are_owed_until_they_are_told() -> None:
    """By attempt."""
    first, second = outcome(Kind.FAILED, 0), outcome(Kind.EXPIRED, 1, attempt=2)
    told = Notified(at=START, attempt=1, message="x")
    assert fold(2, [first, second]).owed == (first, second)
    assert fold(2, [first, told, second]).owed == (second,)


def test_word_of_relayed_mail_is_owed_until_it_is_told() -> None:
    """As of a failure; a delivery that somebody else tells of, or nobody asked about, owes nothing."""
    relayed = outcome(Kind.RELAYED, 0)
    assert fold(2, [relayed, outcome(Kind.DELIVERED, 1)]).owed == (relayed,)
    assert fold(2, [relayed, Notified(at=START, attempt=1, message="x")]).owed == ()


def test_a_message_is_cut_while_it_is_not_known_what_came_of_a_final_dot() -> None:
    """Whatever is written of others meanwhile; the end of the attempt, or an outcome, makes it known."""
    begun = outcome(Kind.IN_DOUBT, 0)
    other = outcome(Kind.DELIVERED, 1)
    ended = Scheduled(at=START, attempt=1, next=START)
    assert fold(2, [begun]).is_cut
    assert fold(2, [begun, other]).is_cut
    assert not fold(2, [begun, other, outcome(Kind.DEFERRED, 0)]).is_cut
    assert not fold(2, [begun, other, ended]).is_cut
    assert fold(2, [begun, ended, outcome(Kind.IN_DOUBT, 0, attempt=2), other]).is_cut
    assert not fold(2, [begun, outcome(Kind.DELIVERED, 0)]).is_cut


def test_attempts_are_counted_by_their_number() -> None:
    """Several groups of recipients share one; the next date is the last one written."""
    entries: list[Entry] = [
        outcome(Kind.DEFERRED, 0, attempt=3),
        outcome(Kind.DEFERRED, 1, attempt=3),
        Scheduled(at=START, attempt=3, next=START),
    ]
    state = fold(2, entries)
    assert (state.attempts, state.next) == (3, START)


def test_a_recipient_that_the_envelope_does_not_have_is_not_sound() -> None:
    """The journal is another message's, or somebody has edited one of the two."""
    with pytest.raises(NotSound, match="its journal knows recipient 2, its envelope 2"):
        fold(2, [outcome(Kind.DELIVERED, 2)])
