"""A notification: what RFC 3464 asks for, read back by the standard library, whatever went into it."""

import email
import email.policy
from datetime import timedelta
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.notification import Facts, addressed_to, compose
from relayd.deliver.original import Original
from relayd.smtp.reply import reply
from relayd.spool.envelope import Envelope, Recipient
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
    return read(compose(facts(*failures, about=about), Original(header)))


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


def status_groups(note: EmailMessage) -> list[dict[str, str]]:
    """The fields of the machine's part, whatever the third part is."""
    (status,) = (part for part in note.walk() if part.get_content_type() == "message/delivery-status")
    payload = status.get_payload()
    assert isinstance(payload, list)
    return [{name: str(value) for name, value in group.items()} for group in payload if isinstance(group, Message)]


def groups(note: EmailMessage) -> list[dict[str, str]]:
    """The fields of the machine's part: of the message, then of each recipient."""
    parts(note)
    return status_groups(note)


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
    assert bob["Final-Recipient"] == "rfc822; bob@example.net"
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
    assert compose(facts(), Original(HEADER)) == compose(facts(), Original(HEADER))


def test_it_is_dated_when_the_last_failure_was_found_out() -> None:
    """Not when it is composed."""
    late = outcome(Kind.FAILED, 1, at=NOON + timedelta(hours=1))
    note = composed(late, outcome(Kind.FAILED, 0), about=envelope("a@example.net", "b@example.net"))
    assert parsedate_to_datetime(note["Date"]) == NOON + timedelta(hours=1)


@pytest.mark.parametrize("host", ["localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]", "relay"])
def test_any_name_of_this_host_makes_a_sound_notification(host: str) -> None:
    """A literal and a short name too."""
    note = read(compose(facts(host=host), Original(HEADER)))
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
    note = compose(facts(about=envelope(address), recipient=address), Original(HEADER))
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


# Mail that was relayed, and what was asked for.

RELAYED = outcome(Kind.RELAYED, 1, answer=reply(250, "2.0.0", "queued as 4711"))


def test_relayed_mail_is_no_failure() -> None:
    """RFC 3464 section 2.3.3: it went to where nobody reports; the subject says so too."""
    note = composed(RELAYED, about=envelope("bob@example.net", "carol@example.net"))
    assert str(note["Subject"]) == "Relayed Mail (its delivery will not be confirmed)"
    (_, carol) = groups(note)
    assert (carol["Action"], carol["Status"]) == ("relayed", "2.0.0")
    assert carol["Final-Recipient"] == "rfc822; carol@example.net"
    assert carol["Diagnostic-Code"] == "smtp; 250 2.0.0 queued as 4711"
    text = " ".join(parts(note)[0].get_content().split())
    assert "relayed to an exchanger that does not confirm delivery" in text
    assert "could not be delivered" not in text


def test_failures_and_relayed_mail_of_one_attempt_share_a_notification() -> None:
    """People are told of each in words of its own."""
    note = composed(RELAYED, outcome(Kind.FAILED), about=envelope("bob@example.net", "carol@example.net"))
    assert str(note["Subject"]) == "Undelivered Mail Returned to Sender"
    (_, carol, bob) = groups(note)
    assert (carol["Action"], bob["Action"]) == ("relayed", "failed")
    text = parts(note)[0].get_content()
    assert (
        text.index("could not be delivered")
        < text.index("<bob@")
        < text.index("passed on")
        < text.index("<carol@")
    )


def test_the_names_that_the_client_gave_come_back() -> None:
    """RFC 3461 section 6.3 (a) and (d): ENVID and ORCPT, decoded from xtext."""
    about = Envelope(
        arrived=NOON,
        reverse_path="alice@example.org",
        recipients=(Recipient("bob@example.net", orcpt="rfc822;Bob+2Bx@Example.COM"),),
        envid="QQ+3D314159",
    )
    message, bob = groups(composed(about=about))
    assert message["Original-Envelope-Id"] == "QQ=314159"
    assert bob["Original-Recipient"] == "rfc822; Bob+x@Example.COM"
    assert bob["Final-Recipient"] == "rfc822; bob@example.net"


def test_names_that_nobody_gave_are_not_made_up() -> None:
    """RFC 3461 section 6.3 (d): without ORCPT the field must not appear."""
    message, bob = groups(composed())
    assert "Original-Recipient" not in bob
    assert "Original-Envelope-Id" not in message


# Addresses beyond ASCII.


def test_a_recipient_beyond_ascii_is_named_in_ascii_to_an_originator_who_is_not() -> None:
    """RFC 6533 section 3: any server may be on the way of this notification."""
    about = envelope("j\u00fcrgen@b\u00fccher.example")
    note = composed(about=about)
    (_, group) = groups(note)
    assert group["Final-Recipient"] == "utf-8; j\\x{FC}rgen@xn--bcher-kva.example"
    assert "<j\u00fcrgen@b\u00fccher.example>:" in parts(note)[0].get_content()


def test_an_originator_beyond_ascii_is_told_by_smtputf8() -> None:
    """RFC 6533: the address in the header is as it is, and the machine's part is the global one."""
    about = Envelope(
        arrived=NOON,
        reverse_path="j\u00fcrgen@b\u00fccher.example",
        recipients=(Recipient("b\u00f6b@example.net", orcpt="utf-8;b\u00f6b@example.net"),),
        smtputf8=True,
    )
    made = Facts(ID, about, (outcome(Kind.FAILED),), "j\u00fcrgen@b\u00fccher.example", "relay.test")
    note = compose(made, Original(HEADER))
    assert "\r\nTo: <j\u00fcrgen@b\u00fccher.example>\r\n".encode() in note
    assert note.partition(b"\r\n\r\n")[0].endswith(b"\r\nContent-Transfer-Encoding: 8bit")
    parsed = email.message_from_bytes(note, policy=email.policy.SMTPUTF8)
    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/plain", "message/global-delivery-status", "text/rfc822-headers"]
    assert "\r\nOriginal-Recipient: utf-8; b\u00f6b@example.net\r\n".encode() in note
    assert "\r\nFinal-Recipient: utf-8; b\u00f6b@example.net\r\n".encode() in note


def test_a_notification_has_a_null_reverse_path_and_says_what_it_needs() -> None:
    """RFC 3461 section 6.1; SMTPUTF8 only for an address that cannot do without."""
    plain = addressed_to("alice@example.org", NOON)
    assert (plain.reverse_path, plain.smtputf8, plain.body) == (None, False, None)
    wide = addressed_to("j\u00fcrgen@b\u00fccher.example", NOON)
    assert (wide.reverse_path, wide.smtputf8, wide.body) == (None, True, "8BITMIME")


hostile = st.text('ab;@\r\n\0."\\<>+=\u00fc\u2028\u202e\x85\U0001f600', max_size=30)


@given(hostile, hostile, hostile, hostile, st.binary(max_size=60), st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_an_edited_file_holds_the_notification_is_sound_mail(
    address: str, orcpt: str, envid: str, said: str, mail_data: bytes, is_whole: bool
) -> None:
    """Lines of CR LF alone, none too long, ASCII, three parts; and no field that we did not write."""
    about = Envelope(
        arrived=NOON, reverse_path="alice@example.org", recipients=(Recipient(address, orcpt=orcpt),), envid=envid
    )
    failure = outcome(Kind.FAILED, answer=reply(550, "5.1.1", said))
    note = compose(facts(failure, about=about), Original(mail_data, is_whole))
    parsed = read(note)
    assert len(list(parsed.iter_parts())) == 3
    message, recipient = status_groups(parsed)
    assert set(message.keys()) == {"Original-Envelope-Id", "Reporting-MTA", "X-Relayd-Queue-ID", "Arrival-Date"}
    assert set(recipient.keys()) == {
        "Original-Recipient",
        "Final-Recipient",
        "Action",
        "Status",
        "Remote-MTA",
        "Diagnostic-Code",
        "Last-Attempt-Date",
    }
