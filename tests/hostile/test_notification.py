"""A notification about hostile mail: whatever a client, an exchanger or a file said, it is one sound report.

Read back by the standard library: three parts, our fields and no others, lines that any server takes.
"""

import email
import email.policy
import re
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.notification import Facts, compose
from relayd.deliver.original import Original
from relayd.smtp.reply import NotAReply, Parser, Reply, reply
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.outcome import Kind, Outcome
from tests.hostile.machine import EHLO, Machine
from tests.hostile.words import ODD_BUT_LEGAL

AT = datetime(2026, 1, 1, tzinfo=UTC)
OUR_FIELDS = {
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "auto-submitted",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}
STATUS_FIELDS = {
    "reporting-mta",
    "x-relayd-queue-id",
    "arrival-date",
    "original-envelope-id",
    "original-recipient",
    "final-recipient",
    "action",
    "status",
    "remote-mta",
    "diagnostic-code",
    "last-attempt-date",
    "will-retry-until",
}
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
HOSTILE = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\x1b[2J",
    b"\xff",
    b"\x85",
    "\u2028".encode(),
    b"--=_",
    b"Bcc: x@y",
    b": ",
]

hostile = st.lists(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=12)), max_size=8).map(b"".join)
long_line = st.sampled_from([b"", b"x" * 5000, b"\xc3\xbc" * 2000, b" " * 3000])
headers = st.one_of(
    st.lists(
        st.sampled_from([b"Subject: s\r\n", b" folded\r\n", b"\r\n", b"X\x00: y\r\n", b"Y: \x80\r\n"]), max_size=6
    ).map(b"".join),
    st.tuples(hostile, long_line).map(lambda parts: b"Subject: " + parts[0] + parts[1] + b"\r\n"),
    hostile,
)


def said_by(exchanger: bytes) -> Reply:
    """What our side makes of such an answer."""
    parser = Parser()
    try:
        (said,) = parser.read(b"550 5.1.1 " + exchanger.replace(b"\n", b"\\n") + b"\r\n")
        return said
    except NotAReply as error:
        return reply(451, "4.5.0", str(error))


def rcpt(text: bytes, orcpt: bytes | None) -> Recipient | None:
    """The recipient that a client's RCPT comes to, if it is taken."""
    machine = Machine()
    parameter = b"" if orcpt is None else b" ORCPT=rfc822;" + orcpt
    machine.says(EHLO, b"MAIL FROM:<> SMTPUTF8\r\n", b"RCPT TO:<" + text + b">" + parameter + b"\r\n")
    return (
        None if not machine.rcpts else Recipient(str(machine.rcpts[0].forward_path), None, machine.rcpts[0].orcpt)
    )


def assert_is_sound(note: bytes, recipients: int) -> None:
    """One report of three parts, and no line or field in it that we did not write."""
    assert not _LONE.search(note)
    assert max(map(len, note.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(note, policy=email.policy.compat32)
    assert {name.lower() for name in parsed} <= OUR_FIELDS
    assert len(parsed.keys()) == len({name.lower() for name in parsed})
    parts = parsed.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3
    # The library does not know the form of RFC 6533, whose groups are the same.
    boundary = b"--" + str(parsed.get_boundary()).encode() + b"\r\n"
    _, _, status = note.split(boundary)[2].partition(b"\r\n\r\n")
    groups = [email.message_from_bytes(group) for group in status.strip().split(b"\r\n\r\n")]
    assert len(groups) == 1 + recipients
    for group in groups:
        assert not group.get_payload()
        assert {name.lower() for name in group} <= STATUS_FIELDS
        assert len(group.keys()) == len({name.lower() for name in group})


@settings(max_examples=100, deadline=None)
@given(hostile, hostile, headers, st.booleans(), st.sampled_from(["a@client.example", "ü@client.example"]))
def test_what_an_exchanger_and_a_header_say_stays_in_its_place(
    answer: bytes, name: bytes, header: bytes, whole: bool, originator: str
) -> None:
    """In the diagnostic, in the name of the exchanger, in the original that comes back."""
    outcome = Outcome(
        at=AT,
        recipients=(0,),
        kind=Kind.FAILED,
        reply=said_by(answer),
        attempt=1,
        exchanger=name.decode("utf-8", "replace"),
        address="192.0.2.1",
    )
    about = Envelope(arrived=AT, reverse_path=originator, recipients=(Recipient("b@example.net"),))
    facts = Facts("0" * 17, about, (outcome,), originator, "relay.example.org")
    assert_is_sound(compose(facts, Original(header, is_whole=whole)), 1)


def test_odd_recipients_stay_in_their_fields() -> None:
    """All of them in one report, to originators that are as odd."""
    recipients = tuple(found for text in ODD_BUT_LEGAL if (found := rcpt(text, None)) is not None)
    assert len(recipients) == len(ODD_BUT_LEGAL)
    outcome = Outcome(
        at=AT,
        recipients=tuple(range(len(recipients))),
        kind=Kind.FAILED,
        reply=reply(550, "5.1.1", "no"),
        attempt=1,
    )
    for originator in recipients:
        about = Envelope(arrived=AT, reverse_path=originator.address, recipients=recipients)
        facts = Facts("0" * 17, about, (outcome,), originator.address, "relay.example.org")
        assert_is_sound(compose(facts, Original(b"Subject: x\r\n")), len(recipients))


@settings(max_examples=100, deadline=None)
@given(
    st.text(alphabet="ab+0123456789ABCDEF=;\\{}x\r\n\t ü\u2028", max_size=30),
    st.text(alphabet="ab+0123456789ABCDEF=\r\n ", max_size=20),
)
def test_an_orcpt_and_an_envid_that_were_taken_stay_in_their_fields(orcpt: str, envid: str) -> None:
    """What a client may say in xtext, decoded or not, makes no field of its own."""
    recipient = rcpt(b"b@example.net", orcpt.encode())
    machine = Machine()
    machine.says(EHLO, b"MAIL FROM:<a@client.example> ENVID=" + envid.encode() + b"\r\n")
    outcome = Outcome(at=AT, recipients=(0,), kind=Kind.FAILED, reply=reply(550, "5.1.1", "no"), attempt=1)
    about = Envelope(
        arrived=AT,
        reverse_path="a@client.example",
        recipients=(recipient or Recipient("b@example.net"),),
        envid=machine.mail[0].envid if machine.mail else None,
    )
    facts = Facts("0" * 17, about, (outcome,), "a@client.example", "relay.example.org")
    assert_is_sound(compose(facts, Original(b"Subject: x\r\n")), 1)
