"""An order: its commands for a server with these extensions or those, and that nothing in it leaves its line."""

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.smtp.address import NotAnAddress, parse_mailbox
from relayd.smtp.order import NotAnOrder, Order, Wish, seven_bit

ALL = {"SIZE", "8BITMIME", "SMTPUTF8", "DSN"}
FULL = Order(
    "a@b.example",
    ("c@d.example", "e@f.example"),
    size=9,
    body="8BITMIME",
    smtputf8=True,
    ret="HDRS",
    envid="x+2By",
    wishes=(Wish("SUCCESS,DELAY", "rfc822;C@D.example"), Wish()),
)


def test_every_parameter_goes_where_its_extension_is_offered() -> None:
    """RFC 3461 section 5.2.1: with the same values, also in their case of letters."""
    assert FULL.mail(ALL) == "MAIL FROM:<a@b.example> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By"
    assert FULL.rcpt(0, ALL) == "RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;C@D.example"


def test_who_asked_for_nothing_has_nothing_asked() -> None:
    """RFC 3461 section 5.2.1: no parameter that was not given is supplied."""
    assert FULL.rcpt(1, ALL) == "RCPT TO:<e@f.example>"
    plain = Order("", ("c@d.example",))
    assert (plain.mail(ALL), plain.rcpt(0, ALL)) == ("MAIL FROM:<>", "RCPT TO:<c@d.example>")


@pytest.mark.parametrize(
    ("keyword", "rest"),
    [
        ("SIZE", "BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By"),
        ("8BITMIME", "SIZE=9 SMTPUTF8 RET=HDRS ENVID=x+2By"),
        ("SMTPUTF8", "SIZE=9 BODY=8BITMIME RET=HDRS ENVID=x+2By"),
        ("DSN", "SIZE=9 BODY=8BITMIME SMTPUTF8"),
    ],
)
def test_a_parameter_stays_away_where_its_extension_is_not_offered(keyword: str, rest: str) -> None:
    """RFC 5321 section 4.1.1.11."""
    without = ALL - {keyword}
    assert FULL.mail(without) == f"MAIL FROM:<a@b.example> {rest}"
    assert ("NOTIFY" in FULL.rcpt(0, without)) == (keyword != "DSN")


def test_an_original_recipient_beyond_ascii_goes_in_its_7_bit_form_without_smtputf8() -> None:
    """RFC 6533 section 3: utf-8-addr-xtext; what was escaped stays as it is."""
    order = Order("a@b", ("c@d",), smtputf8=True, wishes=(Wish(orcpt="utf-8;gr\u00fc\\x{2B}\u90f5@d"),))
    assert order.rcpt(0, {"DSN", "SMTPUTF8"}) == "RCPT TO:<c@d> ORCPT=utf-8;gr\u00fc\\x{2B}\u90f5@d"
    assert order.rcpt(0, {"DSN"}) == "RCPT TO:<c@d> ORCPT=utf-8;gr\\x{FC}\\x{2B}\\x{90F5}@d"


def test_paths_say_whether_they_need_smtputf8() -> None:
    """Either direction."""
    assert FULL.is_ascii
    assert not Order("\u00e4@b", ("c@d",)).is_ascii
    assert not Order("a@b", ("c@d", "c@\u00e4.example")).is_ascii


@pytest.mark.parametrize(
    "path", ['"a b"@c', '"a>b\\"<"@c', "a@[192.0.2.1]", "a@[IPv6:::1]", "\u90f5@\u4ef6.example"]
)
def test_a_path_of_any_sound_form_can_be_ordered(path: str) -> None:
    """Quoted local parts may hold brackets and spaces."""
    assert Order(path, (path,)).rcpt(0, ()) == f"RCPT TO:<{path}>"


@pytest.mark.parametrize(
    "path", ["a@b> SIZE=1 <c@d", "a b@c", 'a"b@c', '"a"b@c', "a@b@c", "a", "", "a@b ", '"a\\"@c']
)
def test_a_path_that_would_end_its_brackets_is_none(path: str) -> None:
    """An edited file must not add parameters either."""
    with pytest.raises(NotAnOrder, match="not a path"):
        Order("a@b", (path,))


@pytest.mark.parametrize("value", ["", "a b", "a=b", "a\r\nRSET", "a\0", "a\x7f", "a\u2028b", "a\xa0b", "a\udc80"])
def test_a_parameter_that_is_no_single_word_is_none(value: str) -> None:
    """RFC 5321 section 4.1.2: esmtp-value."""
    parameters: list[dict[str, Any]] = [
        {"envid": value},
        {"ret": value},
        {"body": value},
        {"wishes": (Wish(notify=value),)},
        {"wishes": (Wish(orcpt=value),)},
    ]
    for each in parameters:
        with pytest.raises(NotAnOrder, match="not a parameter"):
            Order("a@b", ("c@d",), **each)


words = (
    st.none() | st.text(max_size=12) | st.sampled_from(["NEVER", "a@b", "x\r\n.\r\n", "rfc822;\u00e4", "a@b> X=1"])
)


@given(words, words, words, words, words, words, st.sets(st.sampled_from(sorted(ALL))))
@settings(max_examples=300, deadline=None)
def test_whatever_is_ordered_each_command_is_one_line_with_one_path(
    path: str | None,
    body: str | None,
    ret: str | None,
    envid: str | None,
    notify: str | None,
    orcpt: str | None,
    extensions: set[str],
) -> None:
    """Or it is refused."""
    with suppress(NotAnOrder):
        order = Order(path or "", ("c@d",), 1, body, True, ret, envid, (Wish(notify, orcpt),))
        for command in (order.mail(extensions), order.rcpt(0, extensions)):
            assert command.isprintable()
            command.encode()
            bare = re.sub(r'"(?:[^"\\]|\\.)*"', "q", command)
            assert re.fullmatch(r"(?:MAIL FROM|RCPT TO):<[^<> ]*>(?: [A-Z0-9]+(?:=[^ =]+)?)*", bare)


def test_seven_bits_are_left_alone() -> None:
    """And what is beyond them is written in hexadecimal."""
    assert seven_bit("a\\x{2B}b") == "a\\x{2B}b"
    assert seven_bit("\U0001f600") == "\\x{1F600}"


@given(st.text('ab"\\@<> .[]:0\u00fc\u90f5\u200e\xa0', max_size=14))
@settings(max_examples=300, deadline=None)
def test_every_mailbox_that_comes_in_can_go_out(local: str) -> None:
    """What the server side of this relay takes for an address is none that breaks a command."""
    for text in (f"{local}@b.example", f'"{local}"@b.example', f"{local}@[192.0.2.1]"):
        with suppress(NotAnAddress):
            mailbox = str(parse_mailbox(text, international=True))
            assert Order(mailbox, (mailbox,)).rcpt(0, ()) == f"RCPT TO:<{mailbox}>"
