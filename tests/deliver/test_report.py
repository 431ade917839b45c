"""A report: what comes out is sound mail, whatever goes in."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.deliver.report import assemble, fields, is_sound, status_part, text_part


def test_a_field_stays_one_line_whatever_its_value_holds() -> None:
    """Control characters become escapes, and what no octets stand for a question mark."""
    assert fields([("To", "a\r\nBcc: all@example.org")]) == b"To: a\\r\\nBcc: all@example.org\r\n"
    assert fields([("X", "a\u2028b\0"), ("Y", "\udc80")]) == b"X: a\\u2028b\\x00\r\nY: \\udc80\r\n"


def test_only_a_wide_field_goes_beyond_ascii() -> None:
    """So that a report goes by any server, whatever an edited envelope holds."""
    assert fields([("X", "gr\u00fc\u90f5")]) == b"X: gr??\r\n"
    assert fields([("X", "gr\u00fc")], is_wide=True) == "X: gr\u00fc\r\n".encode()


@pytest.mark.parametrize("value", ["x" * 2000, "\u90f5" * 2000, "a" + "\u00fc" * 2000])
def test_a_field_is_short_enough_for_any_server(value: str) -> None:
    """RFC 5321 section 4.5.3.1.6, in octets; it is not cut inside of a character."""
    line = fields([("X", value)], is_wide=True).removesuffix(b"\r\n")
    assert 990 <= len(line) <= 998
    line.decode()


def test_no_part_can_end_the_report() -> None:
    """The boundary comes of all parts, so that none can have it in it."""
    parts = [text_part("text/plain", "one", b"text")]
    for _ in range(3):
        made = assemble([("To", "<a@b>")], parts)
        read = email.message_from_bytes(made, policy=email.policy.default)
        assert isinstance(read, EmailMessage)
        boundary = read.get_boundary()
        assert boundary is not None
        assert len(list(read.iter_parts())) == len(parts)
        attack = f"x\r\n--{boundary}--\r\n--{boundary}\r\n\r\nevil"
        parts.append(text_part("text/plain", "attack", attack.encode()))


def test_the_same_parts_make_the_same_report() -> None:
    """After a crash it is written again under the same name."""
    parts = [text_part("text/plain", "one", b"text")]
    assert assemble([("To", "<a@b>")], parts) == assemble([("To", "<a@b>")], parts)
    assert assemble([("To", "<a@b>")], parts) != assemble([("To", "<a@b>")], [*parts, *parts])


def test_only_a_wide_report_says_that_it_has_8_bits() -> None:
    """And only its status may have them."""
    group = [("Final-Recipient", "utf-8; \u00fc@b.example")]
    made = assemble([("To", "<\u00fc@b>")], [status_part([group], is_wide=True)], is_wide=True)
    assert made.count(b"Content-Transfer-Encoding: 8bit\r\n") == 2
    assert b"Content-Type: message/global-delivery-status\r\n" in made
    assert b"8bit" not in assemble([("To", "<a@b>")], [status_part([[("X", "y")]], is_wide=False)])


@given(st.binary(max_size=120))
@settings(max_examples=150, deadline=None)
def test_text_of_any_octets_arrives_as_it_was(text: bytes) -> None:
    """As 7-bit lines that any server takes."""
    part = text_part("text/plain", "x", text)
    assert part.isascii()
    assert is_sound(part)
    read = email.message_from_bytes(part, policy=email.policy.default)
    assert read.get_payload(decode=True) == text
