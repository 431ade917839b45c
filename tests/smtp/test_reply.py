"""Replies: their wire form, their classes, and the parser of what a server sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.reply import MAXIMUM_REPLY, NotAReply, Parser, Reply, printable, reply

# What begins like an enhanced code is read as one.
replies = st.builds(
    reply,
    st.integers(200, 599),
    st.none(),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).filter(
        lambda text: text[:1] not in ("2", "4", "5")
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
)


def read(*pieces: bytes) -> list[Reply]:
    """All replies that the parser finds in these pieces."""
    parser = Parser()
    found: list[Reply] = []
    for piece in pieces:
        found += parser.read(piece)
    return found


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (reply(250, "2.0.0", "Ok"), b"250 2.0.0 Ok\r\n"),
        (reply(220, None, "host ESMTP"), b"220 host ESMTP\r\n"),
        (reply(250, None, "host", "SIZE 5", "8BITMIME"), b"250-host\r\n250-SIZE 5\r\n250 8BITMIME\r\n"),
        (reply(214, "2.0.0", "a", "b"), b"214-2.0.0 a\r\n214 2.0.0 b\r\n"),
        (reply(250, None), b"250 \r\n"),
        (reply(550, "5.1.1", "no b\xfcro"), b"550 5.1.1 no b?ro\r\n"),
    ],
)
def test_a_reply_is_written_line_by_line(value: Reply, wire: bytes) -> None:
    """Section 4.2.1: a hyphen after the code of each line but the last; ASCII, whatever the text is."""
    assert bytes(value) == wire


@given(st.text(max_size=40))
def test_no_text_can_make_a_second_line_of_a_reply(text: str) -> None:
    """What a peer said comes back in replies, in the log and in notifications."""
    wire = bytes(reply(554, "5.7.1", text))
    assert wire.count(b"\r") == wire.count(b"\n") == 1
    assert wire.endswith(b"\r\n")
    assert wire[:-2].decode("ascii").isprintable()
    assert str(reply(554, "5.7.1", text)).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[2J\x7f", "\\x1b[2J\\x7f"),
        ("a\x85b\u2028c", "a\\x85b\\u2028c"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("bücher", "bücher"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_no_glyph_is_shown_as_an_escape(text: str, shown: str) -> None:
    """A terminal and a log line stay as they are."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("code", "positive", "transient", "permanent"),
    [(220, 1, 0, 0), (354, 1, 0, 0), (421, 0, 1, 0), (452, 0, 1, 0), (500, 0, 0, 1), (599, 0, 0, 1)],
)
def test_the_first_digit_is_the_class(code: int, positive: bool, transient: bool, permanent: bool) -> None:
    """Section 4.2.1."""
    value = reply(code, None, "x")
    assert (value.is_positive, value.is_transient, value.is_permanent) == (positive, transient, permanent)


def test_every_reply_has_an_enhanced_status() -> None:
    """RFC 3463: the server's own, or the general one of its class."""
    assert reply(550, "5.1.1", "x").status == "5.1.1"
    assert reply(451, None, "x").status == "4.0.0"


@given(st.lists(replies, max_size=4), st.data())
def test_replies_are_read_as_they_were_written_however_they_are_cut(
    written: list[Reply], data: st.DataObject
) -> None:
    """The parser sees a stream, not the segments of it."""
    wire = b"".join(map(bytes, written))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert read(*pieces) == written
    assert read(*(wire[index : index + 1] for index in range(len(wire)))) == written


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"250 Ok\n", Reply(250, None, ("Ok",))),
        (b"250\r\n", Reply(250, None, ("",))),
        (b"250 \r\n", Reply(250, None, ("",))),
        (b"250-\r\n250\r\n", Reply(250, None, ("", ""))),
        (b"250-First line\r\n250-234 Text\r\n250 last\r\n", Reply(250, None, ("First line", "234 Text", "last"))),
        (b"599 what\r\n", Reply(599, None, ("what",))),
        (b"550 5.1.1 nobody\r\n", Reply(550, "5.1.1", ("nobody",))),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1", ("",))),
        (b"550-5.1.1 no\r\n550-5.1.1\r\n550 body\r\n", Reply(550, "5.1.1", ("no", "", "body"))),
        (b"550-5.1.1 no\r\n550 5.1.10 other\r\n", Reply(550, "5.1.1", ("no", "5.1.10 other"))),
        (b"550 4.1.1 other class\r\n", Reply(550, None, ("4.1.1 other class",))),
        (b"550 5.1.1234 no code\r\n", Reply(550, None, ("5.1.1234 no code",))),
        ("550 5.\u0661.1 no code\r\n".encode(), Reply(550, None, ("5.\u0661.1 no code",))),
        (b"220 192.0.2.1 ready\r\n", Reply(220, None, ("192.0.2.1 ready",))),
        (b"550 a\rb\x1b\xff\r\n", Reply(550, None, ("a\\rb\\x1b\ufffd",))),
    ],
)
def test_a_server_s_reply_is_read(wire: bytes, expected: Reply) -> None:
    """Section 4.2: the text may be missing; the enhanced code (RFC 2034) is taken off where it is one."""
    assert read(wire) == [expected]


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"hello\r\n", "not a reply: hello"),
        (b"\r\n", "not a reply: "),
        (b"25 Ok\r\n", "not a reply: 25 Ok"),
        (b"2500 Ok\r\n", "not a reply: 2500 Ok"),
        (b"250Ok\r\n", "not a reply: 250Ok"),
        (b"150 Ok\r\n", "not a reply: 150 Ok"),
        (b"650 Ok\r\n", "not a reply: 650 Ok"),
        (b" 250 Ok\r\n", "not a reply:  250 Ok"),
        (b"\x1b]0;x\r\n", "not a reply: \\x1b]0;x"),
        (b"250-a\r\n251 b\r\n", "a reply that begins with 250 and goes on with 251"),
        (b"250-a\r\nfoo\r\n", "not a reply: foo"),
        (b"250 " + b"x" * MAXIMUM_REPLY, f"a reply longer than {MAXIMUM_REPLY} octets"),
        (b"250-x\r\n" * (MAXIMUM_REPLY // 7 + 1), f"a reply longer than {MAXIMUM_REPLY} octets"),
    ],
)
def test_what_is_no_reply_is_said_to_be_none(wire: bytes, reason: str) -> None:
    """Whole and byte by byte, in bounded memory."""
    with pytest.raises(NotAReply) as raised:
        read(wire)
    assert str(raised.value) == reason
    with pytest.raises(NotAReply):
        read(*(wire[index : index + 1] for index in range(len(wire))))


def test_the_bound_is_one_reply_s_and_not_the_conversation_s() -> None:
    """A long conversation is no long reply."""
    line = b"250 " + b"x" * (MAXIMUM_REPLY - 6) + b"\r\n"
    assert len(read(line * 3)) == 3
