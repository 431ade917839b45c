"""A status: the fields for machines, with names as RFC 3461 and RFC 6533 want them written."""

import pytest

from relayd.deliver.status import decoded, message_fields, recipient_fields
from relayd.smtp.reply import reply
from relayd.spool.envelope import Recipient
from relayd.spool.outcome import Kind
from tests.deliver.making import NOON, envelope, outcome


def fields(address: str = "bob@example.net", orcpt: str | None = None, *, is_wide: bool = False) -> dict[str, str]:
    """The fields about one recipient that failed."""
    return dict(recipient_fields(Recipient(address, orcpt=orcpt), outcome(Kind.FAILED), is_wide=is_wide))


@pytest.mark.parametrize(
    ("xtext", "text"),
    [
        ("QQ314159", "QQ314159"),
        ("a+2Bb+3Dc", "a+b=c"),
        ("a+20b", "a b"),
        # What would break a line, or is no printable ASCII, stays encoded.
        ("x+0D+0ABcc:+20evil", "x+0D+0ABcc:+20evil"),
        ("x+00", "x+00"),
        ("x+7F", "x+7F"),
        ("x+FF", "x+FF"),
        ("x+1B[31m", "x+1B[31m"),
        # No xtext: an edited file.
        ("a+b", "a+b"),
        ("+2b", "+2b"),
        ("\u00fc", "\\x{FC}"),
    ],
)
def test_xtext_is_decoded_where_that_does_no_harm(xtext: str, text: str) -> None:
    """RFC 3461 section 6.3 (a)."""
    assert decoded(xtext) == text


@pytest.mark.parametrize(
    ("orcpt", "narrow", "wide"),
    [
        ("rfc822;Bob+2Bx@b.example", "rfc822; Bob+x@b.example", "rfc822; Bob+x@b.example"),
        ("x400;/c=de", "x400; /c=de", "x400; /c=de"),
        ("UTF-8;gr\u00fc@b.example", "utf-8; gr\\x{FC}@b.example", "utf-8; gr\u00fc@b.example"),
        ("utf-8;gr\\x{FC}\\x{2B}@b", "utf-8; gr\\x{FC}\\x{2B}@b", "utf-8; gr\\x{FC}\\x{2B}@b"),
        ("rfc822;a+0D+0Ab", "rfc822; a+0D+0Ab", "rfc822; a+0D+0Ab"),
    ],
)
def test_the_original_recipient_is_the_one_that_the_client_named(orcpt: str, narrow: str, wide: str) -> None:
    """RFC 3461 section 6.3 (d), RFC 6533 section 3."""
    assert fields(orcpt=orcpt)["Original-Recipient"] == narrow
    assert fields(orcpt=orcpt, is_wide=True)["Original-Recipient"] == wide


@pytest.mark.parametrize(
    ("address", "narrow", "wide"),
    [
        ("bob@example.net", "rfc822; bob@example.net", "rfc822; bob@example.net"),
        ("j\u00fcr+gen@example.net", "utf-8; j\\x{FC}r\\x{2B}gen@example.net", "utf-8; j\u00fcr+gen@example.net"),
        ("a@b\u00fccher.example", "utf-8; a@xn--bcher-kva.example", "utf-8; a@b\u00fccher.example"),
        ("a@\uff42.example", "utf-8; a@\\x{FF42}.example", "utf-8; a@\uff42.example"),
    ],
)
def test_the_final_recipient_is_the_one_that_was_tried(address: str, narrow: str, wide: str) -> None:
    """In characters that the way of the report has."""
    assert fields(address)["Final-Recipient"] == narrow
    assert fields(address, is_wide=True)["Final-Recipient"] == wide


def test_an_address_that_grows_in_ascii_is_cut() -> None:
    """A field has no more than 998 octets."""
    assert len(fields("\u90f5" * 300 + "@b.example")["Final-Recipient"]) < 950
    assert len(fields(orcpt="utf-8;" + "\u90f5" * 500)["Original-Recipient"]) < 950


def test_a_delay_says_until_when() -> None:
    """RFC 3464 section 2.3.8."""
    late = dict(recipient_fields(Recipient("a@b.example"), outcome(Kind.DEFERRED), NOON))
    assert (late["Action"], "Will-Retry-Until" in late) == ("delayed", True)
    assert "Will-Retry-Until" not in fields()


def test_relayed_mail_has_the_class_of_a_success() -> None:
    """RFC 3463 section 2, whatever the exchanger has of enhanced codes."""
    group = dict(recipient_fields(Recipient("a@b.example"), outcome(Kind.RELAYED, answer=reply(250, None, "ok"))))
    assert (group["Action"], group["Status"]) == ("relayed", "2.0.0")


def test_a_message_is_named_by_the_name_that_its_client_gave() -> None:
    """And by ours."""
    names = dict(message_fields("ID", envelope(), "relay.test"))
    assert (names["Reporting-MTA"], names["X-Relayd-Queue-ID"]) == ("dns; relay.test", "ID")
    assert "Original-Envelope-Id" not in names
