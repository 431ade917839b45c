"""Wishes: which outcomes are told to whom, by what the client said of each recipient."""

from datetime import UTC, datetime

import pytest

from relayd.deliver.wishes import is_wanted, wanted
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.outcome import Kind
from tests.deliver.making import outcome

DELAYS = {Kind.DEFERRED, Kind.IN_DOUBT}
FAILURES = {Kind.FAILED, Kind.EXPIRED}
SUCCESSES = {Kind.DELIVERED, Kind.RELAYED}


def about(*notify: str | None, reverse_path: str | None = "alice@example.org") -> Envelope:
    """An envelope whose recipients have these wishes."""
    recipients = tuple(Recipient(f"user{number}@example.net", each) for number, each in enumerate(notify))
    return Envelope(arrived=datetime.now(UTC), reverse_path=reverse_path, recipients=recipients)


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (None, DELAYS | FAILURES),
        ("NEVER", set()),
        ("SUCCESS", SUCCESSES),
        ("FAILURE", FAILURES),
        ("DELAY", DELAYS),
        ("DELAY,FAILURE", DELAYS | FAILURES),
        ("SUCCESS,FAILURE,DELAY", SUCCESSES | DELAYS | FAILURES),
    ],
)
def test_what_was_asked_for_is_told_and_nothing_else(notify: str | None, told: set[Kind]) -> None:
    """RFC 3461 section 4.1; without a wish, as RFC 5321 section 6.1 has it."""
    assert {kind for kind in Kind if is_wanted(about(notify), 0, kind)} == told


def test_nobody_is_told_of_success_at_a_null_reverse_path() -> None:
    """There is no address for it; failures have the postmaster."""
    envelope = about("SUCCESS,FAILURE", reverse_path=None)
    assert not is_wanted(envelope, 0, Kind.RELAYED)
    assert is_wanted(envelope, 0, Kind.FAILED)


def test_recipients_of_one_outcome_part_by_their_wishes() -> None:
    """Those who are told of stand in one, the others in the other; nobody in both or none."""
    envelope = about("FAILURE", "NEVER", None, "SUCCESS")
    told, untold = wanted(envelope, [outcome(Kind.FAILED, 0, 1, 2), outcome(Kind.FAILED, 3)])
    assert [each.recipients for each in told] == [(0, 2)]
    assert [each.recipients for each in untold] == [(1,), (3,)]
    assert wanted(envelope, [outcome(Kind.FAILED, 0, 2)]) == ((outcome(Kind.FAILED, 0, 2),), ())
