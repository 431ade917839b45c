"""Addresses that mean harm: nothing of them gets unescaped into a log line, a file name, a header, a command."""

from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.base import events
from relayd.base.line import Format, render
from relayd.smtp.address import parse_mailbox
from tests.hostile.machine import EHLO, HELO, MAIL, RCPT, Machine, lines
from tests.hostile.visit import STRANGER, House, ours, play, visit
from tests.hostile.words import NAMES, NO_ADDRESS, ODD_BUT_LEGAL

BODY = b"Subject: x\r\n\r\ny\r\n"


# The machine: what is an address, and what is none.


@pytest.mark.parametrize("greeting", [HELO, EHLO])
def test_what_the_grammar_does_not_have_is_refused(greeting: bytes) -> None:
    """As a reverse-path and as a forward-path, with a 5yz; nothing of it is in the session."""
    for text in NO_ADDRESS:
        machine = Machine()
        machine.says(greeting)
        if text:
            machine.says(b"MAIL FROM:<" + text + b">\r\n")
        assert machine.mail == [], text
        machine.says(MAIL, b"RCPT TO:<" + text + b">\r\n", b"DATA\r\n")
        assert (len(machine.mail), machine.rcpts) == (1, []), text
        assert all(code // 100 == 5 for code in machine.codes[-2:]), (text, machine.codes)
        lines(machine.replies)


def test_smtputf8_opens_the_grammar_to_letters_only() -> None:
    """RFC 6531 section 3.3: no control characters, line separators, directions, look-alikes of "@" and "."."""
    for text in NO_ADDRESS:
        machine = Machine()
        machine.says(EHLO)
        if text:
            machine.says(b"MAIL FROM:<" + text + b"> SMTPUTF8\r\n")
            assert machine.mail == [], text
        machine.says(b"MAIL FROM:<a@client.example> SMTPUTF8\r\n", b"RCPT TO:<" + text + b">\r\n")
        assert machine.rcpts == [], text
        lines(machine.replies)


def test_an_odd_address_keeps_its_meaning() -> None:
    """Read and written again it is the same, as a reverse-path and as a forward-path."""
    for text in ODD_BUT_LEGAL:
        machine = Machine()
        machine.says(HELO, b"MAIL FROM:<" + text + b">\r\n", b"RCPT TO:<" + text + b">\r\n")
        (mail,), (rcpt,) = machine.mail, machine.rcpts
        assert mail.reverse_path == rcpt.forward_path == parse_mailbox(text.decode()), text
        assert parse_mailbox(str(rcpt.forward_path)) == rcpt.forward_path, text


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        (b"a" * 64 + b"@x.example", True),
        (b"a" * 65 + b"@x.example", False),
        (b'"' + b"a" * 62 + b'"@x.example', True),
        (b'"' + b"a" * 63 + b'"@x.example', False),
        # 254 octets with its brackets is as long as a path lets a domain be.
        (b"a@" + b"x." * 125 + b"yy", True),
        (b"a@" + b"x." * 125 + b"yyy", False),
        (b"a@" + b"x" * 63 + b".example", True),
        (b"a@" + b"x" * 64 + b".example", False),
    ],
)
def test_sizes_are_those_of_section_4_5_3_1(address: bytes, is_taken: bool) -> None:
    """To the octet: 64 of a local part, 256 of a path, 63 of a label."""
    machine = Machine()
    machine.says(HELO, MAIL, b"RCPT TO:<" + address + b">\r\n")
    assert len(machine.rcpts) == is_taken


addresses = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=30).map(lambda text: (text + "@x.example").encode("utf-8", "surrogatepass")),
    st.text(alphabet='a@<>"\\ .,;:[]()\r\n\0\t\x7f\xff\u2028%!', max_size=30).map(str.encode),
)


@settings(max_examples=150, deadline=None)
@given(addresses, st.booleans())
def test_any_octets_between_the_brackets_are_an_address_or_refused(octets: bytes, utf8: bool) -> None:
    """An address that is taken is printable and means the same when it is read again."""
    machine = Machine()
    machine.says(EHLO, b"MAIL FROM:<a@client.example>" + (b" SMTPUTF8" if utf8 else b"") + b"\r\n")
    machine.says(b"RCPT TO:<" + octets + b">\r\n")
    lines(machine.replies)
    for rcpt in machine.rcpts:
        text = str(rcpt.forward_path)
        assert text.isprintable()
        assert utf8 or text.isascii()
    machine.says(b"RSET\r\n" + MAIL)
    lines(machine.replies)


# The floor above it: spool, header, log.


def test_odd_addresses_are_data_everywhere(tmp_path: Path) -> None:
    """In the envelope as written, in the trace line of a header that a reader of mail understands."""

    async def scene(house: House) -> None:
        for text in ODD_BUT_LEGAL:
            path = b"<" + text + b">\r\n"
            said = [EHLO, b"MAIL FROM:" + path, b"RCPT TO:" + path, b"DATA\r\n", BODY + b".\r\n"]
            replies = await visit(house, *said)
            assert replies[-1].startswith(b"250 2.0.0 Ok: queued as "), (text, replies)

    traces = play(tmp_path, scene)
    expected = sorted(str(parse_mailbox(text.decode())) for text in ODD_BUT_LEGAL)
    assert sorted(each.recipients[0].address for each in traces.envelopes()) == expected
    assert sorted(str(each.reverse_path) for each in traces.envelopes()) == expected
    for envelope, mail_data in zip(traces.envelopes(), traces.mail(), strict=True):
        received = ours(mail_data, BODY)[0]
        assert f"for <{envelope.recipients[0].address}>;".encode() in received
        assert set(message_from_bytes(mail_data).keys()) <= {"Received", "Date", "Message-ID", "Subject"}


def test_letters_beyond_ascii_are_data_everywhere(tmp_path: Path) -> None:
    """RFC 6531: the trace line has them in UTF-8 and is one field, the log has them escaped or as they are."""
    paths = [
        "ü@bücher.example",
        '"ü ü"@x.example',
        "用户@例え.example",
        "\u0627\u0644@x.example",
        "é" * 32 + "@x.example",
    ]

    async def scene(house: House) -> None:
        for text in paths:
            path = f"<{text}>".encode()
            said = [EHLO, b"MAIL FROM:" + path + b" SMTPUTF8\r\n", b"RCPT TO:" + path + b"\r\n", b"DATA\r\n"]
            replies = await visit(house, *said, BODY + b".\r\n")
            assert replies[-1].startswith(b"250 2.0.0 Ok: queued as "), (text, replies)
            await visit(house, *said, peer=STRANGER)

    traces = play(tmp_path, scene)
    assert sorted(each.recipients[0].address for each in traces.envelopes()) == sorted(paths)
    for envelope, mail_data in zip(traces.envelopes(), traces.mail(), strict=True):
        received = ours(mail_data, BODY)[0].decode()
        assert f"for <{envelope.recipients[0].address}>;" in received
        assert " with UTF8SMTP" in received
        assert envelope.smtputf8


def test_no_address_leaves_anything_but_a_refusal(tmp_path: Path) -> None:
    """Not a message, not a draft, and a log whose lines stay lines."""

    async def scene(house: House) -> None:
        for text in NO_ADDRESS:
            path = b"<" + text + b">\r\n"
            await visit(house, EHLO, MAIL, b"RCPT TO:" + path, b"DATA\r\n", b"RSET\r\n", b"MAIL FROM:" + path)

    traces = play(tmp_path, scene)
    assert traces.files == []
    assert list((tmp_path / "spool" / "tmp").iterdir()) == []


def test_what_a_stranger_was_refused_is_escaped_in_the_log(tmp_path: Path) -> None:
    """One record for each, with the address as it was written."""

    async def scene(house: House) -> None:
        for text in ODD_BUT_LEGAL:
            await visit(house, HELO, MAIL, b"RCPT TO:<" + text + b">\r\n", b"DATA\r\n", peer=STRANGER)

    traces = play(tmp_path, scene)
    refused = [each["recipient"] for each in traces.log() if each["event"] == "recipient.refused"]
    assert refused == [f"<{parse_mailbox(text.decode())}>" for text in ODD_BUT_LEGAL]
    assert traces.files == []


@pytest.mark.parametrize("verb", [b"HELO ", b"EHLO "])
def test_a_name_is_never_more_than_a_name(tmp_path: Path, verb: bytes) -> None:
    """Whatever a client calls itself, the trace line is one field, and says where it came from."""

    async def scene(house: House) -> None:
        for name in NAMES:
            said = [verb + name + b"\r\n", HELO, MAIL, RCPT, b"DATA\r\n", BODY + b".\r\n"]
            replies = await visit(house, *said[:1], *said[2:])
            if not any(reply.startswith(b"354") for reply in replies):
                # The name was refused: with a better one the session must go on.
                await visit(house, *said)

    traces = play(tmp_path, scene)
    assert len(traces.files) == len(NAMES)
    for mail_data in traces.mail():
        (received, *others) = ours(mail_data, BODY)
        assert received.startswith(b"Received: from ")
        assert b"([127.0.0.1]) by relay.example.org (relayd) with " in received
        assert not any(other.startswith(b"Received") for other in others)


# The log, for values that no session lets through today.


@pytest.mark.parametrize("format", ["text", "json"])
@settings(max_examples=150, deadline=None)
@given(
    text=st.text(max_size=60), more=st.sampled_from(["\n", "\r\n", "\u2028", "\x1b[2J", "\0", '"', " id=x", "\\"])
)
def test_no_text_makes_a_second_line_of_the_log(format: Format, text: str, more: str) -> None:
    """One line, printable, and the same fields."""
    event = events.RecipientRefused(session="s", client="c", recipient=text + more, reply="554 " + more + text)
    line = render(event, format, datetime(2026, 1, 1, tzinfo=UTC), 1)
    assert line.endswith(b"\n")
    assert line[:-1].decode().isprintable()
