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
    parse_auth,
    parse_bdat,
    parse_mail,
    parse_rcpt,
    parse_vrfy,
    split,
    trace_name,
)
from relayd.smtp.reply import Reply
from relayd.smtp.wording import INTERNATIONAL_PATH, INTERNATIONAL_REVERSE_PATH, SYNTAX, UNKNOWN_PARAMETER

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
        (b"VRFY b\xc3\xb6b", "VRFY", "b\xf6b"),
        ("r\u017fet MA\u0131L".encode(), "r\u017fet", "MA\u0131L"),
    ],
)
def test_a_line_is_a_verb_and_an_argument(line: bytes, verb: str, argument: str) -> None:
    """Section 2.4: verbs in any case; 4.1.1: blanks at the end are tolerated."""
    assert split(line) == (verb, argument)


@given(st.binary(max_size=40))
def test_any_line_can_be_read(line: bytes) -> None:
    """No octets raise, and what passes as text has no control character."""
    _, argument = split(line)
    assert is_text(argument, international=True) or not is_text(argument, international=False)
    if is_text(argument, international=True):
        assert is_text(argument, international=False) == argument.isascii()
        assert not any(each < " " and each != "\t" for each in argument)
        for answer in (parse_mail(argument, extended=True), parse_mail(argument, extended=False)):
            assert isinstance(answer, Mail | Reply)
        assert isinstance(parse_rcpt(argument), Rcpt | Reply)
        assert parse_vrfy(argument, extended=True) in (None, SYNTAX["VRFY"], INTERNATIONAL_PATH)
        parse_auth(argument)
        parse_bdat(argument)
        client_name(argument)


@pytest.mark.parametrize(
    ("argument", "mail"),
    [
        ("FROM:<>", Mail(None)),
        ("from: <alice@example.com>", Mail(ALICE)),
        ("FROM:<@a,@b:alice@example.com>", Mail(ALICE)),
        ("FROM:<alice@example.com> SIZE=12 BODY=8bitmime", Mail(ALICE, 12, "8BITMIME")),
        ("FROM:<alice@example.com>\tsize=0\t body=7BIT", Mail(ALICE, 0, "7BIT")),
        ("FROM:<alice@example.com> SMTPUTF8", Mail(ALICE, smtputf8=True)),
        ("FROM:<alice@example.com> ret=hdrs envid=a+2Bb", Mail(ALICE, ret="HDRS", envid="a+2Bb")),
        ("FROM:<> RET=FULL", Mail(None, ret="FULL")),
        ("FROM:<jos\xe9@example.com> SMTPUTF8", Mail(Address("jos\xe9", "example.com"), smtputf8=True)),
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
    assert parse_rcpt("TO:<a@b> NOTIFY=NEVER", extended=False) == UNKNOWN_PARAMETER
    assert parse_mail("FROM:<> AUTH=<>", extended=True) == UNKNOWN_PARAMETER
    assert parse_mail("FROM:<> AUTH=<>", extended=True, authenticates=True) == Mail(None)


@pytest.mark.parametrize(
    "value",
    [
        "SIZE=1 SIZE=1",
        "SIZE=x",
        "SIZE=" + "1" * 21,
        "SIZE=\u0661",
        "BODY=x",
        "BODY",
        "BODY=7BIT BODY=7BIT",
        "BODY=BINARYMIME",
        "SMTPUTF8=1",
        "SMTPUTF8 SMTPUTF8",
        "RET",
        "RET=BOTH",
        "BODY=8B\u0131TM\u0131ME",
        "ENVID",
        "ENVID=" + "x" * 101,
        "ENVID=+",
        "ENVID=a+0Db",
        "ENVID=a+7Fb",
        "ENVID=a+2bb",
        "ENVID=\xe9",
        "AUTH",
        "AUTH=a+0Ab",
    ],
)
def test_a_parameter_with_a_bad_value_is_named(value: str) -> None:
    """501, with the word that is wrong."""
    answer = parse_mail(f"FROM:<> {value}", extended=True, authenticates=True)
    assert isinstance(answer, Reply)
    assert str(answer) == f"501 5.5.4 Error: bad or repeated parameter {value.split()[-1][:80]}"


@pytest.mark.parametrize(
    ("words", "notify", "orcpt"),
    [
        ("NOTIFY=never", "NEVER", None),
        ("NOTIFY=delay,Failure,SUCCESS", "DELAY,FAILURE,SUCCESS", None),
        ("ORCPT=rfc822;Bob+2B@x", None, "rfc822;Bob+2B@x"),
        ("notify=FAILURE orcpt=X400;a;b", "FAILURE", "X400;a;b"),
        ("ORCPT=utf-8;b\\x{F6}b@x", None, "utf-8;b\\x{F6}b@x"),
        ("ORCPT=UTF-8;b\xf6b@x", None, "UTF-8;b\xf6b@x"),
        ("ORCPT=rfc822;" + "x" * 493, None, "rfc822;" + "x" * 493),
    ],
)
def test_rcpt_says_what_is_to_be_told(words: str, notify: str | None, orcpt: str | None) -> None:
    """RFC 3461 sections 4.1 and 4.2, RFC 6533 section 3."""
    assert parse_rcpt(f"TO:<alice@example.com> {words}", smtputf8=True) == Rcpt(ALICE, notify, orcpt)


@pytest.mark.parametrize(
    "value",
    [
        "NOTIFY",
        "NOTIFY=ALWAYS",
        "NOTIFY=FA\u0131LURE",
        "NOTIFY=SUCCESS,",
        "NOTIFY=NEVER,NEVER",
        "NOTIFY=SUCCESS,NEVER",
        "NOTIFY=DELAY,DELAY",
        "ORCPT",
        "ORCPT=rfc822",
        "ORCPT=rfc822;",
        "ORCPT=;a@b",
        "ORCPT=rf(c;a@b",
        "ORCPT=rfc822;a+b",
        "ORCPT=rfc822;a+0A",
        "ORCPT=rfc822;a+00",
        "ORCPT=rfc822;a+E9",
        "ORCPT=rfc822;a\xe9",
        "ORCPT=utf-8;a+0A",
        "ORCPT=utf-8;a\\x{A}",
        "ORCPT=utf-8;a\\x{0A}",
        "ORCPT=utf-8;a\\x{2028}",
        "ORCPT=utf-8;a\\x{D800}",
        "ORCPT=utf-8;a\\x{110000}",
        "ORCPT=utf-8;a\\b",
        "ORCPT=utf-8;a\uff20b",
        "ORCPT=rfc822;" + "x" * 494,
    ],
)
def test_nothing_else_is_kept_for_a_notification(value: str) -> None:
    """What decodes to a control character or a line's end is no value, in whatever way it is written."""
    answer = parse_rcpt(f"TO:<alice@example.com> {value}", smtputf8=True)
    assert isinstance(answer, Reply)
    assert answer.code == 501
    assert bytes(answer).count(b"\r\n") == 1


def test_what_is_beyond_ascii_needs_smtputf8() -> None:
    """RFC 6531 section 3.5, each command with its code; and without extensions it is no address."""
    assert parse_mail("FROM:<jos\xe9@example.com>", extended=True) == INTERNATIONAL_REVERSE_PATH
    assert parse_mail("FROM:<jos\xe9@example.com> SIZE=1", extended=True) == INTERNATIONAL_REVERSE_PATH
    assert parse_rcpt("TO:<jos\xe9@example.com>") == INTERNATIONAL_PATH
    assert parse_rcpt("TO:<a@b> ORCPT=utf-8;\xe9@b") == INTERNATIONAL_PATH
    assert parse_vrfy("jos\xe9", extended=True) == INTERNATIONAL_PATH
    assert parse_vrfy("<jos\xe9@example.com> smtputf8", extended=True) is None
    assert parse_mail("FROM:<jos\xe9@example.com>", extended=False) == SYNTAX["MAIL"]
    assert parse_rcpt("TO:<jos\xe9@example.com>", extended=False) == SYNTAX["RCPT"]
    assert parse_vrfy("jos\xe9", extended=False) == SYNTAX["VRFY"]


def test_an_address_without_a_domain_gets_the_origin() -> None:
    """RFC 6409 section 8.3; never one that has a domain, nor the null path, nor postmaster."""
    assert parse_mail("FROM:<root>", extended=False, origin="o.example") == Mail(Address("root", "o.example"))
    assert parse_mail('FROM:<"a@b">', extended=False, origin="o.example") == Mail(Address("a@b", "o.example"))
    assert parse_mail("FROM:<>", extended=False, origin="o.example") == Mail(None)
    assert parse_mail("FROM:<postmaster>", extended=False, origin="o.example") == Mail(
        Address("postmaster", "o.example")
    )
    assert parse_rcpt("TO:<cron>", origin="o.example") == Rcpt(Address("cron", "o.example"))
    assert parse_rcpt("TO:<a@b>", origin="o.example") == Rcpt(Address("a", "b"))
    assert parse_rcpt("TO:<Postmaster>", origin="o.example") == Rcpt(Address("Postmaster", ""))
    for path in ("", "a@", "@b", "a b", "@b:a", "a" * 65):
        assert parse_rcpt(f"TO:<{path}>", origin="o.example") == SYNTAX["RCPT"]


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", (0, False)),
        ("12 LAST", (12, True)),
        ("0012\t last", (12, True)),
        ("", None),
        ("LAST", None),
        ("-1", None),
        ("1 2", None),
        ("1LAST", None),
        ("1 LA\u017fT", None),
        ("1 LAST x", None),
        ("\u0661", None),
        ("1" * 21, None),
    ],
)
def test_a_chunk_has_a_size(argument: str, chunk: tuple[int, bool] | None) -> None:
    """RFC 3030 section 2."""
    assert parse_bdat(argument) == chunk


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("plain", ("PLAIN", "")),
        ("LOGIN YQ==", ("LOGIN", "YQ==")),
        ("PLAIN\t=", ("PLAIN", "=")),
        ("", None),
        ("PLAIN a b", None),
    ],
)
def test_auth_has_a_mechanism_and_may_have_a_response(argument: str, found: tuple[str, str] | None) -> None:
    """RFC 4954 section 4."""
    assert parse_auth(argument) == found


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
    assert parse_vrfy(argument, extended=False) is None


@pytest.mark.parametrize("argument", ["", "<>", "b b", "bob@", "<bob", "bob>", "a@b@c", "b\ufffdb"])
def test_vrfy_takes_nothing_else(argument: str) -> None:
    """501 then."""
    assert parse_vrfy(argument, extended=False) == SYNTAX["VRFY"]
