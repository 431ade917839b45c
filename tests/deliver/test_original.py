"""The original: what of a message goes back to its originator, and that it arrives as it was."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.original import HEADER_OCTETS, Original, header_of
from relayd.deliver.report import text_part

HEADER = b"From: Alice <alice@example.org>\r\nSubject: The first mail\r\n"
WHOLE = HEADER + b"\r\n.\r\ntext\r\n"


def parsed(part: bytes) -> EmailMessage:
    """A part as a mail reader sees it; every line is short enough for any server."""
    assert part.count(b"\r") == part.count(b"\n") == part.count(b"\r\n")
    assert max(map(len, part.split(b"\r\n"))) <= 998
    read = email.message_from_bytes(part, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    assert not read.defects
    return read


def decoded(original: Original) -> bytes:
    """The header that comes back; it is 7-bit on its way."""
    part = original.part(is_wide=False)
    assert part.isascii()
    read = parsed(part)
    assert read.get_content_type() == "text/rfc822-headers"
    payload = read.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def decoded_text(text: bytes) -> bytes:
    """What a reader makes of any octets."""
    part = text_part("text/rfc822-headers", "Headers", text)
    assert part.isascii()
    assert b"\0" not in part
    payload = parsed(part).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def kind(original: Original, *, is_wide: bool = False) -> str:
    """What kind of part it is."""
    return parsed(original.part(is_wide=is_wide)).get_content_type()


def test_a_message_that_was_asked_for_comes_back_whole() -> None:
    """RFC 3461 section 4.3, RET=FULL: octet for octet."""
    part = Original(WHOLE, is_whole=True).part(is_wide=False)
    assert parsed(part).get_content_type() == "message/rfc822"
    assert part.endswith(b"\r\n\r\n" + WHOLE)


@pytest.mark.parametrize("odd", [b"\xc3\xbc\r\n", b"a\rb\r\n", b"a\nb\r\n", b"\0\r\n", b"x" * 999 + b"\r\n"])
def test_a_message_that_not_every_server_takes_comes_back_as_its_header(odd: bytes) -> None:
    """It cannot be encoded inside another, and the word of the failure must arrive."""
    assert decoded(Original(WHOLE + odd, is_whole=True)) == HEADER


def test_by_smtputf8_a_message_comes_back_with_its_8_bits() -> None:
    """Which implies 8BITMIME; a header beyond ASCII makes it a global message (RFC 6532 section 3.7)."""
    assert kind(Original(WHOLE + b"\xc3\xbc\r\n", is_whole=True), is_wide=True) == "message/rfc822"
    assert kind(Original(b"Subject: \xc3\xbc\r\n\r\n", is_whole=True), is_wide=True) == "message/global"
    assert kind(Original(b"a\0\r\n", is_whole=True), is_wide=True) == "text/rfc822-headers"


def test_the_header_comes_as_it_was() -> None:
    """Octet for octet."""
    assert decoded(Original(HEADER)) == HEADER


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
    assert decoded_text(header) == header


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_octets_of_a_header_survive(octets: bytes) -> None:
    """The file may have been edited by hand."""
    assert decoded_text(octets) == octets


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
    assert decoded(Original(kept)) == kept


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_header_is_a_beginning_of_whole_lines(octets: bytes) -> None:
    """Whatever the file holds."""
    kept = header_of(octets)
    assert octets.startswith(kept)
    assert kept == b"" or kept.endswith(b"\r\n")
    assert b"\r\n\r\n" not in kept
