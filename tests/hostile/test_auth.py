"""AUTH against guesses, tricks and floods: nothing is taken for a password that is none, and none is shown."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.hostile.machine import EHLO, FACTS, MAIL, RCPT, Machine, cut, lines

OFFERED = replace(FACTS, auth="offered", auth_in_clear=True)
REQUIRED = replace(FACTS, auth="required", auth_in_clear=True)
SECRET = "s3cret-word"


def encoded(text: str | bytes) -> bytes:
    """In base64."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def offered() -> Machine:
    """A machine that offers AUTH, after EHLO."""
    machine = Machine(OFFERED)
    machine.says(EHLO)
    return machine


def test_a_password_is_shown_nowhere() -> None:
    """Not in what the event looks like, nor in a reply, whatever way it came."""
    for said in (
        [b"AUTH PLAIN " + encoded(f"\0user\0{SECRET}") + b"\r\n"],
        [b"AUTH PLAIN\r\n", encoded(f"\0user\0{SECRET}") + b"\r\n"],
        [b"AUTH LOGIN\r\n", encoded("user") + b"\r\n", encoded(SECRET) + b"\r\n"],
        [b"AUTH LOGIN " + encoded("user") + b"\r\n", encoded(SECRET) + b"\r\n"],
    ):
        machine = offered()
        machine.says(*said)
        (auth,) = machine.auths
        assert auth.password == SECRET
        for shown in (repr(auth), str(auth), repr(machine.events), repr(machine.session), f"{vars(type(auth))}"):
            assert SECRET not in shown
        assert SECRET.encode() not in machine.replies
        assert encoded(SECRET) not in machine.replies


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"=",
        b"====",
        b"!",
        b"AHVzZXI",
        b"AHVzZXIAc2VjcmV0=",
        b"AHVzZXIAc2VjcmV0 ",
        b"AHVzZXIAc2Vj cmV0",
        b"AHVzZXIAc2Vj\0cmV0",
        b"\xff\xfe",
        encoded("user"),
        encoded("\0user"),
        encoded("\0user\0"),
        encoded("\0\0secret"),
        encoded("\0user\0secret\0"),
        encoded("\0user\0secret\0x"),
        encoded("root\0user\0secret"),
        encoded(b"\0us\xffer\0secret"),
        encoded(b"\0user\0sec\xc3"),
        encoded(b"\0user\0\xed\xa0\x80"),
    ],
)
def test_what_is_no_response_is_no_password(response: bytes) -> None:
    """Refused, and the session goes on with commands; PLAIN in both ways to write it."""
    machine = offered()
    machine.says(b"AUTH PLAIN\r\n", response + b"\r\n")
    assert machine.auths == []
    assert machine.codes[-1] // 100 == 5
    machine.says(b"NOOP\r\n")
    assert machine.codes[-1] == 250
    # Blanks around an argument are no part of it.
    if response.strip() == response != b"":
        machine.says(b"AUTH PLAIN " + response + b"\r\n")
        assert machine.auths == []
        assert machine.codes[-1] // 100 == 5
    lines(machine.replies)


@pytest.mark.parametrize(
    "mechanism", [b"CRAM-MD5", b"GSSAPI", b"PLAIN2", b"XOAUTH2", b"EXTERNAL", b"\xff", b"ANONYMOUS"]
)
def test_a_mechanism_that_there_is_not_begins_no_exchange(mechanism: bytes) -> None:
    """The next line is a command again."""
    machine = offered()
    machine.says(b"AUTH " + mechanism + b" =\r\n", b"NOOP\r\n")
    assert machine.codes[-2] // 100 == 5
    assert machine.codes[-1] == 250
    assert machine.auths == []


def test_commands_inside_an_exchange_are_responses() -> None:
    """A pipelined transaction is not obeyed: each line answers a challenge, and is none that counts."""
    machine = offered()
    machine.says(b"AUTH LOGIN\r\n" + MAIL)
    assert [*machine.mail, *machine.auths] == []
    assert machine.codes[-1] == 501


def test_a_star_cancels() -> None:
    """In each step; a star with more is no star."""
    for before in ([b"AUTH PLAIN\r\n"], [b"AUTH LOGIN\r\n"], [b"AUTH LOGIN\r\n", encoded("user") + b"\r\n"]):
        machine = offered()
        machine.says(*before, b"*\r\n", b"NOOP\r\n")
        assert machine.codes[-2:] == [501, 250]
        assert machine.auths == []


def test_a_line_of_an_exchange_is_bounded() -> None:
    """RFC 4954 section 4: 12,288 octets; what is longer is refused, not kept, and not obeyed."""
    for beginning in (b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n"):
        machine = offered()
        machine.says(beginning)
        for _ in range(32):
            machine.says(b"A" * 32_768)
            assert machine.session.backlog <= 16_384
        machine.says(b"\r\n" + MAIL)
        assert machine.auths == []
        assert len(machine.mail) <= 1
        lines(machine.replies)


def test_nobody_is_somebody_else() -> None:
    """AUTH a second time, inside a transaction, before EHLO, and with nothing of it offered."""
    plain = b"AUTH PLAIN " + encoded(f"\0user\0{SECRET}") + b"\r\n"
    twice = offered()
    twice.says(plain, b"AUTH PLAIN " + encoded("\0root\0x") + b"\r\n")
    assert (len(twice.auths), twice.session.user) == (1, "user")
    inside = offered()
    inside.says(MAIL, plain)
    early, without = Machine(OFFERED), Machine()
    early.says(plain)
    without.says(EHLO, plain)
    clear = Machine(replace(OFFERED, auth_in_clear=False))
    clear.says(EHLO, plain)
    for machine in (inside, early, without, clear):
        assert machine.auths == []
        assert machine.session.user == ""
        assert machine.codes[-1] // 100 == 5
    assert encoded(SECRET) not in clear.replies


def test_without_a_user_nothing_is_taken_where_one_is_required() -> None:
    """All of a transaction in all ways, BDAT too; no event but the refusals."""
    for said in ([MAIL, RCPT, b"DATA\r\n", b"x\r\n.\r\n"], [MAIL + RCPT + b"BDAT 3 LAST\r\nx\r\n"]):
        machine = Machine(REQUIRED)
        machine.says(EHLO, *said)
        assert machine.events == []
        assert machine.messages == []


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"AUTH PLAIN ", b"AUTH LOGIN ", b"AUTH "]),
    st.lists(st.one_of(st.binary(max_size=30), st.binary(max_size=30).map(encoded)), max_size=3),
    st.lists(st.integers(0, 120), max_size=4),
)
def test_any_exchange_ends_in_a_verdict_or_a_refusal(
    beginning: bytes, said: list[bytes], places: list[int]
) -> None:
    """No exception; an event has a user and a password without NUL."""
    machine = offered()
    machine.says(*cut(beginning + b"\r\n".join(said) + b"\r\n", places))
    lines(machine.replies)
    for auth in machine.auths:
        assert auth.user
        assert auth.password
        assert "\0" not in auth.user + auth.password
