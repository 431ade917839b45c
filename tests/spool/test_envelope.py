"""The envelope: what goes in comes out, and a head that is not ours is refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.spool.envelope import Envelope, Recipient, head_end, pack, unpack
from relayd.spool.errors import NotSound
from tests.spool.exchange import START, envelope


def read(content: bytes) -> Envelope:
    """The envelope at the start of a file."""
    return unpack(content[: head_end(content)])


def test_an_envelope_comes_out_as_it_went_in() -> None:
    """All of it."""
    whole = Envelope(
        arrived=START,
        reverse_path='"a b"@example.org',
        recipients=(Recipient("one@[IPv6:2001:db8::1]"), Recipient("two@Example.NET")),
        session="session",
        client="[192.0.2.1]:1234",
        helo="client.example",
        body="8BITMIME",
    )
    assert read(pack(whole)) == whole
    assert [each.domain for each in whole.recipients] == ["[ipv6:2001:db8::1]", "example.net"]


def test_less_shows_all_of_it() -> None:
    """A line of text, indented JSON, an empty line."""
    head = pack(envelope("one"))
    assert head.startswith(b"relayd 1\n{\n  ")
    assert head.endswith(b"}\n\n")
    assert head.count(b"\n\n") == 1


@given(st.text(), st.text())
def test_whatever_a_client_calls_itself_the_head_ends_once(helo: str, session: str) -> None:
    """No text of a peer makes an empty line."""
    whole = Envelope(arrived=START, reverse_path=None, recipients=(Recipient("a@b"),), helo=helo, session=session)
    try:
        head = pack(whole)
    except UnicodeEncodeError:
        # A lone surrogate: no peer can send one.
        return
    assert head_end(head + b"\n\nmail") == len(head)
    assert read(head) == whole


def test_mail_data_may_have_empty_lines() -> None:
    """The first one ends the head."""
    head = pack(envelope())
    assert head_end(head + b"\n\n\n\n") == len(head)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"relayd 2\n{}\n\n", "it is written in format 2, which this version does not read"),
        (b"relayd 1", "it does not begin with the line 'relayd 1'"),
        (b"", "does not begin with the line 'relayd 1'"),
        (b"From: a\n\n", "does not begin with the line 'relayd 1'"),
        (b"\0" * 100, "does not begin with the line 'relayd 1'"),
    ],
)
def test_what_does_not_begin_as_ours_is_none(content: bytes, said: str) -> None:
    """And the reason says how."""
    with pytest.raises(NotSound, match=said):
        head_end(content)


def test_a_head_that_is_not_whole_has_no_end() -> None:
    """There may be more to read."""
    assert head_end(pack(envelope())[:-1]) == -1


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        (b'"one@example.net"', b'"one@example.net\\r\\nDATA"'),
        (b'"one@example.net"', b'"one"'),
        (b'"one@example.net"', b"17"),
        (b'"originator@example.org"', b'"a\\n@b"'),
        (b'"2023-11-14T22:13:20Z"', b'"2023-11-14T22:13:20"'),
        (b'"recipients"', b'"others"'),
        (b"[", b"{"),
        (b'"2023-11-14T22:13:20Z"', b'"2023-11-14T22:13:20Z", "body": "8BITMIME\\r\\nX"'),
        (b'"2023-11-14T22:13:20Z"', b'"2023-11-14T22:13:20Z", "helo": "\xff"'),
    ],
)
def test_an_edited_envelope_that_would_do_harm_is_refused(written: bytes, instead: bytes) -> None:
    """A line break into a command, a time without a zone, no recipients."""
    head = pack(envelope("one"))
    assert written in head
    with pytest.raises(NotSound, match="its envelope cannot be read"):
        read(head.replace(written, instead, 1))


def test_a_message_to_nobody_is_none() -> None:
    """Nothing could be done with it."""
    with pytest.raises(NotSound):
        read(pack(Envelope(arrived=START, reverse_path=None, recipients=())))
