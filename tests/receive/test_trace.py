"""The trace line says where mail came from, and nothing of what a client says reaches it unchecked."""

import email
import re
from datetime import UTC, datetime
from email.policy import default
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.receive.trace import protocol_of, received
from relayd.smtp.command import client_name

AT = datetime(2026, 7, 1, 9, 5, 3, 45_000, UTC)


def line(**changes: Any) -> str:
    """The trace line of a message from client.example."""
    fields: dict[str, Any] = {
        "helo": "client.example",
        "client": "[192.0.2.7]",
        "hostname": "relay.example.org",
        "protocol": "ESMTP",
        "message_id": "1k13n17cbmb9ada40",
        "only_recipient": "b@example.net",
        "at": AT,
    }
    return received(**{**fields, **changes}).decode()


def unfolded(text: str) -> str:
    """The header's value on one line."""
    return re.sub(r"\r\n\t", " ", text).removesuffix("\r\n")


def test_the_line_has_the_clauses_of_section_4_4() -> None:
    """From what the client said and where it was, by whom, with which protocol, the ID, for whom, and when."""
    assert line() == (
        "Received: from client.example ([192.0.2.7])\r\n"
        "\tby relay.example.org (relayd) with ESMTP id 1k13n17cbmb9ada40\r\n"
        "\tfor <b@example.net>;\r\n"
        "\tWed, 01 Jul 2026 09:05:03 +0000\r\n"
    )


def test_several_recipients_are_not_shown_to_each_other() -> None:
    """Section 7.6: no `for` clause then."""
    assert unfolded(line(only_recipient=None)) == (
        "Received: from client.example ([192.0.2.7]) by relay.example.org (relayd) with ESMTP "
        "id 1k13n17cbmb9ada40; Wed, 01 Jul 2026 09:05:03 +0000"
    )


def test_the_protocol_is_the_one_that_was_spoken() -> None:
    """SMTP after HELO, ESMTP after EHLO (RFC 3848)."""
    assert " with SMTP id " in line(protocol="SMTP")
    assert " with UTF8SMTPSA id " in line(protocol="UTF8SMTPSA")


@pytest.mark.parametrize(
    ("extended", "secure", "authenticated", "utf8", "keyword"),
    [
        (False, False, False, False, "SMTP"),
        (False, True, False, False, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, True, False, False, "ESMTPS"),
        (True, False, True, False, "ESMTPA"),
        (True, True, True, False, "ESMTPSA"),
        (True, False, False, True, "UTF8SMTP"),
        (True, True, True, True, "UTF8SMTPSA"),
    ],
)
def test_the_keyword_is_a_registered_one(
    extended: bool, secure: bool, authenticated: bool, utf8: bool, keyword: str
) -> None:
    """RFC 3848, and RFC 6531 section 4.3."""
    found = protocol_of(extended=extended, secure=secure, authenticated=authenticated, utf8=utf8)
    assert found == keyword


def test_a_mailbox_beyond_ascii_is_written_as_it_is() -> None:
    """RFC 6532; only a transaction with SMTPUTF8 has one."""
    assert "for <j\u00fcrgen@example.net>" in line(only_recipient="j\u00fcrgen@example.net")


def test_an_ipv6_client_has_a_tagged_literal() -> None:
    """Section 4.1.3."""
    assert "from client.example ([IPv6:2001:db8::7])" in line(client="[IPv6:2001:db8::7]")


def test_a_mailbox_with_a_quoted_local_part_stays_one_word() -> None:
    """Spaces and semicolons inside quotes neither fold nor end the header."""
    recipient = r'"a b; c\"> (d" @e'.replace(" @e", "@example.net")
    assert f"\tfor <{recipient}>;\r\n" in line(only_recipient=recipient)


@pytest.mark.parametrize(
    "helo",
    ["x" * 200, "a_b.example", "example..net", "(comment)", "x;y", "<script>", "[1.2.3", "ä", "-a.example", ""],
)
def test_a_name_that_is_none_is_replaced_by_the_address(helo: str) -> None:
    """What the client says of itself is kept in the envelope, and stands in the header only by the grammar."""
    assert unfolded(line(helo=helo)).startswith("Received: from [192.0.2.7] ([192.0.2.7]) by ")


def test_an_address_literal_is_a_name() -> None:
    """Section 4.1.3, for hosts that have no other."""
    assert line(helo="[192.0.2.99]").startswith("Received: from [192.0.2.99] ([192.0.2.7])\r\n")


def test_long_names_are_folded() -> None:
    """At 78 where there is a space, and never beyond 998 (RFC 5322 section 2.1.1)."""
    label = "x" * 60
    text = line(
        helo=f"{label}.example",
        client="[IPv6:2001:db8:1111:2222:3333:4444:5555:6666]",
        hostname=".".join([label] * 4),
    )
    lines = text.removesuffix("\r\n").split("\r\n")
    assert all(len(each) <= 78 or " " not in each.strip() for each in lines)
    assert f"\r\n\tby\r\n\t{'.'.join([label] * 4)}\r\n\t(relayd) with" in text
    assert unfolded(text).startswith(f"Received: from {label}.example ([IPv6:2001:db8:1111")


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(max_codepoint=0x2FF), max_size=300),
    st.sampled_from(["SMTP", "ESMTP", "UTF8SMTPSA"]),
)
def test_any_name_leaves_a_header_that_can_be_read(said: str, protocol: str) -> None:
    """ASCII, folded by tabs only, one header, its date after the last semicolon outside quotes."""
    helo = client_name(said.strip()) or ""
    text = line(helo=helo, protocol=protocol)
    assert text.endswith("\r\n")
    lines = text.removesuffix("\r\n").split("\r\n")
    assert all(each.startswith("\t") for each in lines[1:])
    assert all(each.removeprefix("\t").isprintable() and len(each) <= 998 for each in lines)
    message = email.message_from_string(text + "\r\nbody", policy=default)
    assert message.keys() == ["Received"]
    assert parsedate_to_datetime(text.rpartition(";")[2].strip()) == AT.replace(microsecond=0)
