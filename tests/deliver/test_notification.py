"""A notification: what RFC 3464 asks for, read back by the standard library, whatever went into it."""

import email
import email.policy
from datetime import timedelta
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.notification import HEADER_OCTETS, Facts, compose, header_of
from relayd.smtp.reply import reply
from relayd.spool.envelope import Envelope
from relayd.spool.outcome import Kind, Outcome
from tests.deliver.making import BUSY, ID, NOON, envelope, outcome

HEADER = b"From: Alice <alice@example.org>\r\nSubject: The first mail\r\n"


def facts(
    *failures: Outcome,
    about: Envelope | None = None,
    recipient: str = "alice@example.org",
    host: str = "relay.test",
) -> Facts:
    """What a notification is made from."""
    return Facts(ID, about or envelope(), failures or (outcome(Kind.FAILED),), recipient, host)


def composed(*failures: Outcome, about: Envelope | None = None, header: bytes = HEADER) -> EmailMessage:
    """A notification as a mail reader sees it, after what every server may demand of it is checked."""
    return read(compose(facts(*failures, about=about), header))


def read(note: bytes) -> EmailMessage:
    """Parse it; every line is 7-bit, ends with CR LF and is no longer than a server must take."""
    assert note.isascii()
    assert b"\0" not in note
    assert note.count(b"\r") == note.count(b"\n") == note.count(b"\r\n")
    assert max(map(len, note.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(note, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def parts(note: EmailMessage) -> list[EmailMessage]:
    """The three parts of a report."""
    found = [part for part in note.iter_parts() if isinstance(part, EmailMessage)]
    assert [part.get_content_type() for part in found] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    return found


def groups(note: EmailMessage) -> list[dict[str, str]]:
    """The fields of the machine's part: of the message, then of each recipient."""
    payload = parts(note)[1].get_payload()
    assert isinstance(payload, list)
    return [{name: str(value) for name, value in group.items()} for group in payload if isinstance(group, Message)]


def original(note: EmailMessage) -> bytes:
    """The original's header, decoded."""
    payload = parts(note)[2].get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def test_it_is_a_report_to_the_originator() -> None:
    """From a name that nobody answers, about what was not delivered."""
    note = composed()
    assert note.get_content_type() == "multipart/report"
    assert note.get_param("report-type") == "delivery-status"
    assert str(note["From"]) == "Mail Delivery System <MAILER-DAEMON@relay.test>"
    assert note["To"].addresses[0].addr_spec == "alice@example.org"
    assert note["Auto-Submitted"] == "auto-replied"
    assert parsedate_to_datetime(note["Date"]) == NOON
    assert note["Message-ID"] == f"<{ID}.1.dsn@relay.test>"


def test_the_machine_is_told_each_field() -> None:
    """RFC 3464 section 2: of the message once, of every recipient in a group of its own."""
    refused = outcome(Kind.FAILED, 0, answer=reply(550, "5.1.1", "no such user"), attempt=2)
    full = outcome(Kind.FAILED, 2, answer=reply(552, "5.2.2", "mailbox full"), attempt=2)
    about = envelope("bob@example.net", "carol@example.net", "dave@example.net")
    message, bob, dave = groups(composed(refused, full, about=about))
    assert message["Reporting-MTA"] == "dns; relay.test"
    assert parsedate_to_datetime(message["Arrival-Date"]) == NOON
    assert bob["Original-Recipient"] == bob["Final-Recipient"] == "rfc822; bob@example.net"
    assert (bob["Action"], bob["Status"], bob["Remote-MTA"]) == ("failed", "5.1.1", "dns; mx.example.net")
    assert bob["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert parsedate_to_datetime(bob["Last-Attempt-Date"]) == NOON
    assert (dave["Final-Recipient"], dave["Status"]) == ("rfc822; dave@example.net", "5.2.2")


def test_people_are_told_who_and_why() -> None:
    """The recipient, the exchanger and its words."""
    text = parts(composed())[0].get_content()
    assert "<bob@example.net>:" in text
    assert "mx.example.net [192.0.2.1:25]: 550 5.1.1 no such user" in " ".join(text.split())


def test_what_no_server_said_is_not_said_to_be_smtp() -> None:
    """A name that does not exist is our own finding."""
    own = outcome(Kind.FAILED, answer=reply(550, "5.1.2", "no such domain"), exchanger="", address="")
    (_, group) = groups(composed(own))
    assert group["Diagnostic-Code"] == "X-relayd; 550 5.1.2 no such domain"
    assert "Remote-MTA" not in group


def test_what_was_given_up_has_the_status_of_the_last_problem() -> None:
    """RFC 3463 section 3.5 prefers it to "delivery time expired", which is for when there is none."""
    (_, named) = groups(composed(outcome(Kind.EXPIRED, answer=BUSY, attempt=36)))
    assert named["Status"] == "4.7.1"
    (_, unnamed) = groups(composed(outcome(Kind.EXPIRED, answer=reply(451, None, "later"), attempt=36)))
    assert unnamed["Status"] == "4.4.7"
    text = parts(composed(outcome(Kind.EXPIRED, answer=BUSY, attempt=36)))[0].get_content()
    assert "given up after it was tried 36 times" in " ".join(text.split())


def test_a_failure_without_an_enhanced_code_has_the_class() -> None:
    """A status has three numbers in any case."""
    (_, group) = groups(composed(outcome(Kind.FAILED, answer=reply(550, None, "no"))))
    assert group["Status"] == "5.0.0"


def test_the_same_failures_make_the_same_notification() -> None:
    """After a crash it is made again, and must not differ."""
    assert compose(facts(), HEADER) == compose(facts(), HEADER)


def test_it_is_dated_when_the_last_failure_was_found_out() -> None:
    """Not when it is composed."""
    late = outcome(Kind.FAILED, 1, at=NOON + timedelta(hours=1))
    note = composed(late, outcome(Kind.FAILED, 0), about=envelope("a@example.net", "b@example.net"))
    assert parsedate_to_datetime(note["Date"]) == NOON + timedelta(hours=1)


@pytest.mark.parametrize("host", ["localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]", "relay"])
def test_any_name_of_this_host_makes_a_sound_notification(host: str) -> None:
    """A literal and a short name too."""
    note = read(compose(facts(host=host), HEADER))
    assert note["From"].addresses[0].addr_spec == f"MAILER-DAEMON@{host}"
    assert note["Message-ID"] == f"<{ID}.1.dsn@{host}>"
    assert not note["From"].defects
    assert groups(note)[0]["Reporting-MTA"] == f"dns; {host}"


@pytest.mark.parametrize(
    "address",
    [
        '"quoted, local"@example.org',
        '"a\\"b"@example.org',
        "=?utf-8?q?x?=@example.org",
        "a@[192.0.2.1]",
        "!#$%&'*+-/=?^_`{|}~@example.org",
        '" "@example.org',
        "x" * 64 + "@" + ".".join(["d" * 60] * 4),
        "odd<>@example.org",
        "@@example.org",
        ",;:@example.org",
    ],
)
def test_any_address_stands_in_it_as_it_is(address: str) -> None:
    """In the header, for people and for the machine: the library must not rewrite or fold it."""
    note = compose(facts(about=envelope(address), recipient=address), HEADER)
    read(note)
    assert f"\r\nTo: <{address}>\r\n".encode() in note
    assert f"\r\nFinal-Recipient: rfc822; {address}\r\n".encode() in note
    assert f"\r\n<{address}>:\r\n".encode() in note


def test_a_diagnostic_cannot_break_its_line() -> None:
    """Control characters of a hostile exchanger are escapes by now, other characters become question marks."""
    hostile = reply(550, "5.7.1", "no\r\nBcc: all@example.org", "\x1b[31mred\x1b[0m", "Grüße 郵件\u2028")
    note = composed(outcome(Kind.FAILED, answer=hostile))
    (_, group) = groups(note)
    assert group["Diagnostic-Code"] == (
        r"smtp; 550 5.7.1 no\r\nBcc: all@example.org \x1b[31mred\x1b[0m Gr??e ??\u2028"
    )
    assert "Bcc" not in note
    assert "Grüße 郵件" in parts(note)[0].get_content()


def test_a_long_diagnostic_is_cut() -> None:
    """Sixteen thousand octets of a reply are no help to anybody."""
    note = composed(outcome(Kind.FAILED, answer=reply(550, "5.7.1", *["word " * 100] * 30)))
    assert len(groups(note)[1]["Diagnostic-Code"]) < 998


def test_a_name_of_odd_octets_is_cut() -> None:
    """An exchanger's name in print is up to four times as long as in DNS."""
    composed(outcome(Kind.FAILED, exchanger="\\255" * 255))


def test_a_thousand_recipients_have_a_thousand_groups() -> None:
    """All that failed in one attempt share one notification."""
    about = envelope(*(f"user{number}@example.net" for number in range(1000)))
    assert len(groups(composed(outcome(Kind.FAILED, *range(1000)), about=about))) == 1001


# The original's header.


def test_the_header_comes_as_it_was() -> None:
    """Octet for octet."""
    assert original(composed(header=HEADER)) == HEADER


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n",
        b"Subject: \xff\xfe\x80\r\n",
        b"Subject: " + b"x" * 5000 + b"\r\n",
        b"X: \r in the middle\r\n",
        b"X: \n in the middle\r\n",
        b"X: \0\r\n",
        b"X: blanks at the end  \t\r\nY: =3D\r\n",
        b"",
    ],
)
def test_an_odd_header_survives_in_quoted_printable(header: bytes) -> None:
    """What would not be sound mail is encoded, and a reader decodes it to the same octets."""
    assert original(composed(header=header)) == header


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_octets_of_a_header_survive(octets: bytes) -> None:
    """The file may have been edited by hand."""
    assert original(composed(header=octets)) == octets


def test_a_header_ends_at_the_empty_line() -> None:
    """Nothing of the body is told to anybody."""
    assert header_of(HEADER + b"\r\nSecret: body\r\n") == HEADER


def test_mail_data_without_a_header_has_none() -> None:
    """Whether it begins with the empty line or with text."""
    assert header_of(b"\r\nSecret: body\r\n\r\nmore\r\n") == b""
    assert header_of(b"just text\r\n\r\nmore\r\n") == b""
    assert header_of(b"") == b""
    assert header_of(b" continues nothing\r\n") == b""


def test_a_header_ends_where_a_line_is_no_field() -> None:
    """Mail typed by hand has no empty line between our trace line and its text."""
    assert header_of(b"Received: from a\r\n\tby b; now\r\nhello world\r\nNot: header\r\n") == (
        b"Received: from a\r\n\tby b; now\r\n"
    )


def test_a_large_header_is_cut_between_lines() -> None:
    """A megabyte of it helps nobody."""
    kept = header_of(b"".join(b"X-%06d: %s\r\n" % (number, b"x" * 60) for number in range(14_000)))
    assert HEADER_OCTETS - 100 < len(kept) <= HEADER_OCTETS
    assert kept.endswith(b"\r\n")
    assert header_of(b"X: " + b"x" * 1_000_000 + b"\r\n") == b""
    original(composed(header=kept))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_header_is_a_beginning_of_whole_lines(octets: bytes) -> None:
    """Whatever the file holds."""
    kept = header_of(octets)
    assert octets.startswith(kept)
    assert kept == b"" or kept.endswith(b"\r\n")
    assert b"\r\n\r\n" not in kept
