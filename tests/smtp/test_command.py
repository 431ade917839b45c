"""Commands: the grammar of one line. How a session answers them is in the dialogues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.address import Address, NotAnAddress, parse_path
from relayd.smtp.command import (
    Mail,
    Rcpt,
    client_name,
    is_text,
    names_a_user,
    parse_mail,
    parse_rcpt,
    split,
    trace_name,
)
from relayd.smtp.reply import Reply
from relayd.smtp.wording import SYNTAX, UNKNOWN_PARAMETER

ALICE = Address("alice", "example.com")


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"NOOP", "NOOP", ""),
        (b"noop  a b \t", "NOOP", "a b"),
        (b"MAIL\tFROM:<>", "MAIL", "FROM:<>"),
        (b"", "", ""),
        (b"   ", "", ""),
        (b" NOOP", "", "NOOP"),
        (b"N\xffOP \xff", "N\ufffdOP", "\ufffd"),
    ],
)
def test_a_line_is_a_verb_and_an_argument(line: bytes, verb: str, argument: str) -> None:
    """Section 2.4: verbs in any case; 4.1.1: blanks at the end are tolerated."""
    assert split(line) == (verb, argument)


@given(st.binary(max_size=40))
def test_any_line_can_be_read(line: bytes) -> None:
    """No octets raise, and what passes as text has no control character."""
    _, argument = split(line)
    if is_text(argument):
        assert argument.isascii()
        assert not any(each < " " and each != "\t" for each in argument)
        for answer in (parse_mail(argument, extended=True), parse_mail(argument, extended=False)):
            assert isinstance(answer, Mail | Reply)
        assert isinstance(parse_rcpt(argument), Rcpt | Reply)
        names_a_user(argument)
        client_name(argument)


@pytest.mark.parametrize(
    ("argument", "mail"),
    [
        ("FROM:<>", Mail(None)),
        ("from: <alice@example.com>", Mail(ALICE)),
        ("FROM:<@a,@b:alice@example.com>", Mail(ALICE)),
        ("FROM:<alice@example.com> SIZE=12 BODY=8bitmime", Mail(ALICE, 12, "8BITMIME")),
        ("FROM:<alice@example.com>\tsize=0\t body=7BIT", Mail(ALICE, 0, "7BIT")),
        ('FROM:<"a>b"@example.com> SIZE=1', Mail(Address("a>b", "example.com"), 1)),
        ('FROM:<"a\\">b"@example.com> SIZE=1', Mail(Address('a">b', "example.com"), 1)),
    ],
)
def test_mail_has_a_reverse_path_and_parameters(argument: str, mail: Mail) -> None:
    """Section 4.1.1.2; the null reverse-path is None."""
    assert parse_mail(argument, extended=True) == mail


@given(st.text('<>@:,."\\ ab=[]', max_size=20))
def test_mail_takes_what_stands_in_its_brackets_and_is_a_path(text: str) -> None:
    """Brackets inside quotes do not end it."""
    found = parse_mail(f"FROM:<{text}>", extended=True)
    try:
        expected = parse_path(text) if text else None
    except NotAnAddress:
        return
    assert found == Mail(expected)


def test_parameters_need_extensions() -> None:
    """Section 4.1.1.11: 555 for what is not known, as all is without extensions; 501 for what is no parameter."""
    assert parse_mail("FROM:<> SIZE=1", extended=False) == UNKNOWN_PARAMETER
    assert parse_mail("FROM:<> FOO=1", extended=True) == UNKNOWN_PARAMETER
    assert parse_mail("FROM:<> F_O=1", extended=True) == SYNTAX["MAIL"]
    assert parse_mail("FROM:<> FOO=a=b", extended=True) == SYNTAX["MAIL"]
    assert parse_rcpt("TO:<a@b> FOO") == UNKNOWN_PARAMETER
    assert parse_rcpt("TO:<a@b> FOO=") == SYNTAX["RCPT"]


@pytest.mark.parametrize(
    "value", ["SIZE=1 SIZE=1", "SIZE=x", "SIZE=" + "1" * 21, "BODY=x", "BODY", "BODY=7BIT BODY=7BIT"]
)
def test_a_parameter_with_a_bad_value_is_named(value: str) -> None:
    """501, with the word that is wrong."""
    answer = parse_mail(f"FROM:<> {value}", extended=True)
    assert isinstance(answer, Reply)
    assert str(answer) == f"501 5.5.4 Error: bad or repeated parameter {value.split()[-1]}"


def test_rcpt_knows_postmaster_without_a_domain() -> None:
    """Section 4.5.1, in any case, and nobody else."""
    assert parse_rcpt("TO:<PostMaster>") == Rcpt(Address("PostMaster", ""))
    assert parse_rcpt("TO:<hostmaster>") == SYNTAX["RCPT"]
    assert parse_rcpt('TO:<"postmaster">') == SYNTAX["RCPT"]


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("client.example", "client.example"),
        ("[192.0.2.1] my laptop", "[192.0.2.1]"),
        ("my_laptop", "my_laptop"),
        ("", None),
        ("a" * 255, "a" * 255),
        ("a" * 256, None),
    ],
)
def test_a_client_s_name_is_its_first_word(argument: str, name: str | None) -> None:
    """Sections 4.1.1.1 and 4.1.4."""
    assert client_name(argument) == name


@pytest.mark.parametrize("name", ["client.example", "localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_a_name_by_the_grammar_stands_in_the_trace_line(name: str) -> None:
    """Section 4.4: a domain or an address literal."""
    assert trace_name(name) == name


@pytest.mark.parametrize("name", ["", "my_laptop", "[evil]", "[192.0.2.1", "a;b", "(a)", "[2001:db8::1]", "a..b"])
def test_any_other_name_does_not(name: str) -> None:
    """It could be read as something else there."""
    assert trace_name(name) is None


@pytest.mark.parametrize(
    "argument", ["bob", "bob@example.net", "<bob@example.net>", '"b b"', "<bob>", "bob@[192.0.2.1]"]
)
def test_vrfy_takes_a_user_or_a_mailbox(argument: str) -> None:
    """Section 4.1.1.6."""
    assert names_a_user(argument)


@pytest.mark.parametrize("argument", ["", "<>", "b b", "bob@", "<bob", "bob>", "a@b@c", "b\ufffdb"])
def test_vrfy_takes_nothing_else(argument: str) -> None:
    """501 then."""
    assert not names_a_user(argument)
