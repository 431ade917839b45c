"""What leaves us: whatever the spool file holds, one transaction's lines and one end of data, and no more.

A file is mended by hand, copied from elsewhere or damaged. It is either set aside as unsound, or what is sent of
it keeps to RFC 5321 section 2.3.8: lines end with CR LF, no NUL, one CR LF . CR LF.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relayd.deliver.connecting import connect
from relayd.deliver.connection import Connection, Manner
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.deliver.parcel import Parcel
from relayd.smtp.client import Conversation, Finished, Order, Ready, SendContent
from relayd.smtp.data import Encoder
from relayd.spool.envelope import Envelope, Recipient, head_end, pack, unpack
from relayd.spool.errors import NotSound
from relayd.spool.job import Job
from tests.deliver.running import run
from tests.hostile.machine import EHLO, Machine, cut
from tests.hostile.smuggling import END, sequences
from tests.hostile.words import ODD_BUT_LEGAL
from tests.world.exchanger import Exchanger

EXTENSIONS = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"DSN", b"SIZE 10000000", b"ENHANCEDSTATUSCODES")
EHLO_REPLY = b"250-mx\r\n" + b"".join(b"250-%s\r\n" % each for each in EXTENSIONS) + b"250 HELP\r\n"
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
# One command a line: MAIL or RCPT with a path and well-formed parameters (section 4.1.2), and nothing behind.
_PARAMETERS = rb"(?: [A-Za-z0-9-]+(?:=[^\x00-\x20\x7f=]+)?)*\r\n"
_MAIL = re.compile(rb"MAIL FROM:<([^\r\n]*)>" + _PARAMETERS)
_RCPT = re.compile(rb"RCPT TO:<([^\r\n]+)>" + _PARAMETERS)

octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=16).map(
    b"".join
)
places = st.lists(st.integers(0, 60), max_size=6)


def sent(mail_data: bytes, cuts: list[int]) -> bytes:
    """What goes out for a file with this mail data, read in chunks that end anywhere."""
    encoder = Encoder()
    return b"".join(map(encoder.feed, cut(mail_data, cuts))) + encoder.finish()


def assert_is_one_message(wire: bytes) -> None:
    """No lone CR or LF, no NUL, and the only end is at the end."""
    assert not _LONE.search(wire), wire
    assert (b"\r\n" + wire).find(END) + len(END) == len(wire) + 2, wire


# Mail data.


def test_every_sequence_is_sent_as_one_message() -> None:
    """All of CR, LF, NUL and dot up to five octets, at the beginning, inside and at the end; each cut."""
    for sequence in sequences(5):
        for before, after in ((b"", b"MAIL FROM:<x@y>\r\n"), (b"a\r\n", b"RCPT TO:<x@y>\r\n"), (b"a", b"")):
            mail_data = before + sequence + after
            whole = sent(mail_data, [])
            assert_is_one_message(whole)
            for place in range(len(before), len(before + sequence) + 1):
                assert sent(mail_data, [place]) == whole, (mail_data, place)


@settings(max_examples=100, deadline=None)
@given(octets, places)
def test_any_mail_data_is_sent_as_one_message(mail_data: bytes, cuts: list[int]) -> None:
    """However it is cut."""
    assert_is_one_message(sent(mail_data, cuts))


@pytest.mark.parametrize("is_streamed", [False, True], ids=["in one write", "in chunks"])
def test_an_exchanger_takes_a_hostile_file_for_one_message(is_streamed: bool) -> None:
    """On a socket, against a server that reads line by line: one message, no command between."""
    bodies = [b"a" + sequence + b"RSET\r\nMAIL FROM:<evil@x.example>\r\nRCPT" for sequence in sequences(3)]

    async def main() -> None:
        address, port = exchanger.address
        reached = await connect(
            Candidate(10, "mx.test", ip_address(address), port), Manner("relay.test"), limits=Limits()
        )
        assert isinstance(reached, Connection)
        assert isinstance(await reached.event(), Ready)
        for body in bodies:
            reached.begin(Order("a@client.example", ("b@example.net",)))
            assert await reached.event() == SendContent()
            if is_streamed:
                await reached.send_content(chunks(body))
            else:
                reached.send_small_content(body)
            finished = await reached.event()
            assert isinstance(finished, Finished)
            assert [each.code for each in finished.result.replies] == [250]
        await reached.leave()

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for index in range(len(body)):
            yield body[index : index + 1]

    with Exchanger() as exchanger:
        run(main)
        assert len(exchanger.messages) == len(bodies)
        assert {message.reverse_path for message in exchanger.messages} == {b"MAIL FROM:<a@client.example>"}
        verbs = Counter(line[:4] for line in exchanger.sessions[0].lines)
        assert verbs == {b"EHLO": 1, b"MAIL": len(bodies), b"RCPT": len(bodies), b"DATA": len(bodies), b"QUIT": 1}
        for message in exchanger.messages:
            assert not _LONE.search(message.data)


# The envelope.

FULL = Envelope(
    arrived=datetime(2026, 1, 1, tzinfo=UTC),
    reverse_path="a@client.example",
    recipients=(Recipient("b@example.net", notify="SUCCESS,DELAY", orcpt="rfc822;b@example.net"),),
    session="s",
    client="[192.0.2.1]:1",
    helo="client.example",
    body="8BITMIME",
    ret="FULL",
    envid="an-envelope",
)
HOSTILE_TEXT = [
    "a@b.example>\r\nRCPT TO:<evil@x.example",
    "a@b.example\r\n",
    "a@b.example\n",
    "a@b.example\r",
    "a@b.example\0",
    "a@b.example\x85",
    "a@b.example\u2028RSET",
    "a@b.example> SIZE=1 <c",
    "a@b.example> BODY=8BITMIME",
    "a b>\r\n@c.example",
    "<a@b.example>",
    "a@b.example>",
    "a@b.example\x7f",
    "\x1b[2J@b.example",
    "x\r\n.\r\n",
    "FULL\r\nRSET",
    "8BITMIME RET=FULL",
    "SUCCESS ORCPT=rfc822;x",
    "NEVER\n",
    "rfc822;a b",
    "\ud800@b.example",
]
FIELDS = ["reverse_path", "body", "ret", "envid", "smtputf8", "address", "notify", "orcpt"]


def edited(field: str, value: Any) -> bytes:
    """A message file's head in which somebody has changed one field."""
    head = pack(FULL)
    record = json.loads(head[head.index(b"{") :])
    target = record["recipients"][0] if field in ("address", "notify", "orcpt") else record
    target[field] = value
    return b"relayd 1\n" + json.dumps(record, indent=2).encode() + b"\n\n"


def commands(head: bytes) -> list[bytes]:
    """The commands of the transaction that carries it, to an exchanger with every extension; each whole."""
    assert head_end(head) == len(head)
    envelope = unpack(head)
    job = Job(id="0" * 17, token=1, envelope=envelope, open=(0,), attempt=1, size=10)
    conversation = Conversation("relay.example.org")
    conversation.feed(b"220 mx\r\n")
    conversation.output()
    conversation.feed(EHLO_REPLY)
    conversation.begin(Parcel(job, "example.net", (0,)).order)
    return conversation.output().splitlines(keepends=True)


def assert_injects_nothing(head: bytes) -> None:
    """Set aside, or MAIL, RCPT and DATA with what stands in the envelope."""
    try:
        said = commands(head)
    except (NotSound, ValueError):
        return
    assert len(said) == 3, said
    assert _MAIL.fullmatch(said[0]), said
    assert _RCPT.fullmatch(said[1]), said
    assert said[2] == b"DATA\r\n"


def test_an_envelope_as_we_write_it_is_sent() -> None:
    """So that the tests below cannot pass by never sending anything."""
    mail, rcpt, data = commands(pack(FULL))
    assert mail.startswith(b"MAIL FROM:<a@client.example>")
    assert rcpt.startswith(b"RCPT TO:<b@example.net>")
    assert data == b"DATA\r\n"


@pytest.mark.parametrize("field", FIELDS)
def test_an_edited_envelope_injects_no_command_line(field: str) -> None:
    """A line break, a NUL or another control character in any field."""
    for value in HOSTILE_TEXT:
        assert_injects_nothing(edited(field, value))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(FIELDS),
    st.one_of(
        st.text(max_size=20),
        st.text(max_size=12).map(lambda text: text + "@b.example"),
        st.text(alphabet='ab@<>"\\ \r\n\0.;=+\u2028\u00a0é', max_size=20),
        st.none(),
        st.integers(),
    ),
)
def test_whatever_an_envelope_is_edited_to_injects_no_command_line(field: str, value: object) -> None:
    """Found by trying."""
    assert_injects_nothing(edited(field, value))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=6))
def test_a_damaged_head_is_set_aside_or_read(place: int, octets: bytes) -> None:
    """Octets overwritten anywhere: NotSound, and no other exception."""
    head = pack(FULL)
    damaged = head[:place] + octets + head[place + len(octets) :]
    with suppress(NotSound):
        end = head_end(damaged)
        if end == len(damaged):
            unpack(damaged)


def test_an_envelope_without_its_end_is_never_read_as_whole() -> None:
    """A torn file: no prefix of a head is one."""
    head = pack(FULL)
    for length in range(len(b"relayd 1\n"), len(head) - 1):
        assert head_end(head[:length]) == -1


# From the client to the exchanger.


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.sampled_from([each.decode("latin-1") for each in ODD_BUT_LEGAL]),
        st.text(alphabet='ab.@"\\ <>()!%ü\u200d\u0301ﷺ', max_size=20).map(lambda text: f'"{text}"@x.example'),
        st.text(max_size=20).map(lambda text: text + "@x.example"),
        st.text(max_size=12).map(lambda text: f"a@{text}.example"),
    ),
    st.booleans(),
    st.sampled_from(["", "rfc822;b@example.net", "rfc822;x+2By", "utf-8;ü@x", "utf-8;\\x{FC}@x", "x400;a/b"]),
)
def test_what_was_taken_of_a_client_can_be_sent_on(address: str, utf8: bool, orcpt: str) -> None:
    """Every address and parameter that gets a 250 fits into the envelope's file and into commands again."""
    machine = Machine()
    path = b"<" + address.encode("utf-8", "surrogatepass") + b">"
    parameters = b" SMTPUTF8" if utf8 else b""
    wish = f" ORCPT={orcpt}".encode() if orcpt else b""
    machine.says(EHLO, b"MAIL FROM:" + path + parameters + b"\r\n")
    if machine.mail:
        machine.says(b"RCPT TO:" + path + wish + b"\r\n")
    for mail, rcpt in zip(machine.mail, machine.rcpts, strict=False):
        envelope = Envelope(
            arrived=datetime(2026, 1, 1, tzinfo=UTC),
            reverse_path=None if mail.reverse_path is None else str(mail.reverse_path),
            recipients=(Recipient(str(rcpt.forward_path), rcpt.notify, rcpt.orcpt),),
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envid=mail.envid,
        )
        head = pack(envelope)
        assert unpack(head) == envelope
        said = commands(head)
        assert len(said) == 3
        assert _RCPT.fullmatch(said[1])
