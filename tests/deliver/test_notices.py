"""Notices: who is told of which failures, and that something is told whatever goes wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.base.config import Config, load
from relayd.deliver.notices import Notices
from relayd.deliver.original import WHOLE_OCTETS
from relayd.spool.errors import NoSuchMessage, NotSound, SpoolFailed
from relayd.spool.outcome import Kind
from tests.deliver.fake_spool import FakeSpool
from tests.deliver.making import ID, NOON, asking, envelope, job, outcome

POSTMASTER = "ops@example.org"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with a postmaster."""
    path = tmp_path / "relayd.toml"
    path.write_text(f'hostname = "relay.example.org"\n[relay]\npostmaster = "{POSTMASTER}"\n')
    return load(path)


def without_postmaster(config: Config) -> Config:
    """The same with nobody to turn to."""
    return replace(config, relay=replace(config.relay, postmaster=None))


def test_the_reverse_path_is_told(config: Config) -> None:
    """By a message that has a null reverse-path itself, so that it never causes another."""
    spool = FakeSpool(mail={ID: [b"Subject: lost\r\n", b"\r\nbody\r\n"]})
    composed = Notices(config, spool).compose(job(), [outcome(Kind.FAILED)])
    (notice,) = composed.notices
    assert notice.attempt == 1
    assert notice.envelope.reverse_path is None
    assert [each.address for each in notice.envelope.recipients] == ["alice@example.org"]
    assert b"\r\nSubject: lost\r\n" in notice.mail_data
    assert b"body" not in notice.mail_data
    assert (composed.untold, composed.errors) == ((), ())


def test_failures_of_one_attempt_share_a_notice(config: Config) -> None:
    """Those of another attempt, owed since a crash, have their own."""
    failures = [
        outcome(Kind.FAILED, 0, attempt=1),
        outcome(Kind.FAILED, 1, attempt=2),
        outcome(Kind.EXPIRED, 2, attempt=2),
    ]
    made = job("a@example.net", "b@example.net", "c@example.net")
    first, second = Notices(config, FakeSpool()).compose(made, failures).notices
    assert (first.attempt, second.attempt) == (1, 2)
    assert b"a@example.net" in first.mail_data
    assert b"b@example.net" not in first.mail_data
    assert b"b@example.net" in second.mail_data
    assert b"c@example.net" in second.mail_data


def test_a_null_reverse_path_goes_to_the_postmaster(config: Config) -> None:
    """Somebody should know."""
    (notice,) = Notices(config, FakeSpool()).compose(job(reverse_path=None), [outcome(Kind.FAILED)]).notices
    assert [each.address for each in notice.envelope.recipients] == [POSTMASTER]


def test_a_null_reverse_path_without_a_postmaster_goes_nowhere(config: Config) -> None:
    """And the failure is among those that nobody is told of."""
    failure = outcome(Kind.FAILED)
    composed = Notices(without_postmaster(config), FakeSpool()).compose(job(reverse_path=None), [failure])
    assert (composed.notices, composed.untold) == ((), (failure,))


@pytest.mark.parametrize("address", [POSTMASTER, POSTMASTER.upper()])
def test_the_postmaster_is_not_told_that_he_was_not_reached(config: Config, address: str) -> None:
    """That would go round for ever."""
    composed = Notices(config, FakeSpool()).compose(job(address, reverse_path=None), [outcome(Kind.FAILED)])
    assert composed.notices == ()


def test_the_postmaster_is_told_of_others_who_got_no_copy(config: Config) -> None:
    """He has his; only his own failure must not come back to him."""
    notices = Notices(config, FakeSpool())
    about = envelope(POSTMASTER, "bob@example.net", reverse_path=None)
    assert notices.originator(about, [outcome(Kind.FAILED, 1)]) == POSTMASTER
    assert notices.originator(about, [outcome(Kind.FAILED, 1), outcome(Kind.FAILED, 0)]) is None


@pytest.mark.parametrize(
    "trouble", [NoSuchMessage("gone"), NotSound("short"), SpoolFailed("EIO"), OSError(5, "EIO")]
)
def test_a_file_that_cannot_be_read_does_not_keep_the_notice_back(config: Config, trouble: Exception) -> None:
    """The failure is owed; only the header is missing."""
    composed = Notices(config, FakeSpool(mail={ID: [trouble]})).compose(job(), [outcome(Kind.FAILED)])
    assert len(composed.notices) == 1
    assert composed.errors == (trouble,)
    assert b"no such user" in composed.notices[0].mail_data


def test_the_notice_has_the_time_of_the_failure(config: Config) -> None:
    """Its own lifetime counts from there, and a second composing after a crash gives the same."""
    failure = outcome(Kind.FAILED)
    (notice,) = Notices(config, FakeSpool()).compose(job(), [failure]).notices
    assert notice.envelope.arrived == failure.at


# What was asked for (RFC 3461 section 4).


def test_a_failure_that_nobody_wants_to_hear_of_is_not_told(config: Config) -> None:
    """NOTIFY=NEVER, or without FAILURE; the others of the attempt are."""
    made = asking(job("a@b.example", "c@b.example", "d@b.example"), "NEVER", "SUCCESS", "FAILURE")
    composed = Notices(config, FakeSpool()).compose(made, [outcome(Kind.FAILED, 0, 1, 2)])
    (notice,) = composed.notices
    assert b"d@b.example" in notice.mail_data
    assert b"a@b.example" not in notice.mail_data
    assert b"c@b.example" not in notice.mail_data
    assert [each.recipients for each in composed.untold] == [(0, 1)]


def test_when_nobody_wants_to_hear_there_is_no_notice(config: Config) -> None:
    """Nor an originator, and the postmaster is not told in his place."""
    for reverse_path in ("alice@example.org", None):
        made = asking(job(reverse_path=reverse_path), "NEVER")
        notices = Notices(config, FakeSpool())
        composed = notices.compose(made, [outcome(Kind.FAILED)])
        assert (composed.notices, len(composed.untold)) == ((), 1)
        assert notices.originator(made.envelope, [outcome(Kind.FAILED)]) is None


def test_relayed_mail_is_told_and_is_no_failure_to_be_told_in_a_summary(config: Config) -> None:
    """RFC 3461 section 5.2.2: it was asked for, each time."""
    made = asking(job(), "SUCCESS")
    notices = Notices(config, FakeSpool())
    (notice,) = notices.compose(made, [outcome(Kind.RELAYED)]).notices
    assert b"\r\nAction: relayed\r\n" in notice.mail_data
    assert notices.originator(made.envelope, [outcome(Kind.RELAYED)]) is None


def test_a_delay_is_told_to_those_who_want_to_hear_of_it(config: Config) -> None:
    """RFC 3461 section 4.1: DELAY, or nothing at all was asked for."""
    waiting = [outcome(Kind.DEFERRED, 0, 1, 2)]
    made = asking(job("a@b.example", "c@b.example", "d@b.example"), "DELAY", "FAILURE", None)
    (notice,) = Notices(config, FakeSpool()).warn(made, waiting, NOON).notices
    assert b"a@b.example" in notice.mail_data
    assert b"c@b.example" not in notice.mail_data
    assert b"d@b.example" in notice.mail_data
    nobody = asking(job(), "SUCCESS,FAILURE")
    assert Notices(config, FakeSpool()).warn(nobody, [outcome(Kind.DEFERRED)], NOON).notices == ()


def test_a_summary_is_silent_about_those_that_nobody_wants_to_hear_of(config: Config) -> None:
    """Wishes hold in any form of notification."""
    made = asking(job("a@b.example", "c@b.example"), "NEVER", "FAILURE", envid="x+2By")
    notice = Notices(config, FakeSpool()).summarise([(made, [outcome(Kind.FAILED, 0, 1)])], "alice@example.org")
    assert b"c@b.example" in notice.mail_data
    assert b"a@b.example" not in notice.mail_data
    assert b"\r\nX-Relayd-Original-Envelope-Id: x+y\r\n" in notice.mail_data


@pytest.mark.parametrize(
    ("ret", "kind", "size", "is_whole"),
    [
        ("FULL", Kind.FAILED, 100, True),
        ("HDRS", Kind.FAILED, 100, False),
        (None, Kind.FAILED, 100, False),
        # RFC 3461 section 4.3: RET is about failures.
        ("FULL", Kind.RELAYED, 100, False),
        ("FULL", Kind.FAILED, WHOLE_OCTETS + 1, False),
    ],
)
def test_the_message_comes_back_whole_where_that_was_asked_for(
    config: Config, ret: str | None, kind: Kind, size: int, is_whole: bool
) -> None:
    """RET=FULL, with a failure, and of bearable length."""
    spool = FakeSpool(mail={ID: [b"Subject: lost\r\n", b"\r\nbody\r\n"]})
    made = asking(job(size=size), "SUCCESS,FAILURE", ret=ret)
    (notice,) = Notices(config, spool).compose(made, [outcome(kind)]).notices
    assert (b"\r\n\r\nSubject: lost\r\n\r\nbody\r\n" in notice.mail_data) == is_whole
    assert b"\r\nSubject: lost\r\n" in notice.mail_data
