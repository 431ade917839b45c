"""Out of turn: speaking before the banner, pipelining where RFC 2920 forbids it, other protocols, chatter."""

import pytest
from msgspec.structs import replace

from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.event import Data, StartTls
from relayd.smtp.facts import State
from relayd.smtp.server import Session
from tests.hostile.machine import EHLO, FACTS, HELO, MAIL, RCPT, TRANSACTION, Machine, cut, each_octet, lines

SECOND = b"Subject: x\r\n\r\ny\r\n.\r\n" + MAIL + RCPT
METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"PRI"]


@pytest.mark.parametrize("behind", [SECOND, b"x", b"\r\n", b".\r\n", b"QUIT\r\n", b"\0", b"\n"])
def test_octets_behind_data_are_neither_mail_nor_commands(behind: bytes) -> None:
    """RFC 2920 section 3.1: DATA is the last command of a group. 554 and closed, nothing of it is taken."""
    machine = Machine()
    machine.says(TRANSACTION + behind)
    assert machine.messages == []
    assert len(machine.mail) == 1
    assert machine.is_closed
    assert 354 not in machine.codes
    assert machine.codes[-1] == 554


def test_a_data_that_is_refused_is_the_last_command_too() -> None:
    """Whoever wrote more behind it expected something else to be read: mail data must not become commands."""
    for before in (HELO + MAIL, HELO, b"", HELO + MAIL + b"RCPT TO:<a b@c>\r\n"):
        machine = Machine()
        machine.says(before + b"DATA\r\n" + HELO + MAIL + RCPT)
        assert machine.rcpts == [], before
        assert machine.is_closed, before


@pytest.mark.parametrize("before", [MAIL + RCPT + b"DATA\r\n", b"STARTTLS\r\n"])
def test_octets_that_come_before_the_verdict_came_too_early_too(before: bytes) -> None:
    """The client could not know yet that it may go on: 554 and closed, as if they had been in the same segment."""
    for behind in (SECOND, b"x", b"QUIT\r\n"):
        session = Session(replace(FACTS, starttls=True))
        session.feed(EHLO + before)
        while isinstance(event := session.next_event(), Mail | Rcpt):
            session.answer()
        assert isinstance(event, Data | StartTls)
        session.output()
        session.feed(behind)
        assert session.next_event() is None
        assert session.output() == b""
        session.answer()
        assert session.next_event() is None
        (said,) = lines(session.output())
        assert said.startswith(b"554 5.5.0 ")
        assert session.state is State.CLOSED


def test_pipelining_is_taken_where_it_is_allowed() -> None:
    """Also before EHLO was answered, as simple clients have it."""
    for said in (HELO + MAIL + RCPT + b"DATA\r\n", EHLO + MAIL + RCPT + b"NOOP\r\nDATA\r\n"):
        machine = Machine()
        machine.says(said)
        assert machine.codes[-1] == 354


def test_who_speaks_before_the_banner_hears_no_banner() -> None:
    """554 in its place, and closed; what was said is not read."""
    for early in (EHLO + MAIL, b"x", b"\0" * 70_000):
        session = Session(FACTS)
        session.feed(early)
        session.speak_before_greeting()
        (said,) = lines(session.output())
        assert said.startswith(b"554 5.5.0 ")
        assert session.state is State.CLOSED
        assert session.next_event() is None
        assert session.backlog == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_browser_is_closed_at_once(method: bytes) -> None:
    """A form on a web page must not become a transaction (cross-protocol requests), in any state and any case."""
    request = method + b" / HTTP/1.1\r\nHost: relay\r\n\r\n" + EHLO + MAIL + RCPT + b"DATA\r\n"
    for before in ([], [EHLO], [EHLO, MAIL], [EHLO, MAIL, RCPT]):
        for writes in ([request], each_octet(request), cut(request, [len(method)]), [request.lower()]):
            machine = Machine()
            machine.says(*before)
            count = len(machine.events)
            machine.says(*writes)
            assert machine.is_closed
            assert len(machine.events) == count
            assert machine.codes[-1] in (421, 554)


def test_a_header_line_of_mail_may_look_like_a_request() -> None:
    """Inside mail data it is mail data."""
    machine = Machine()
    machine.says(TRANSACTION, b"GET / HTTP/1.1\r\n.\r\n")
    assert machine.messages == [b"GET / HTTP/1.1\r\n"]


@pytest.mark.parametrize(
    "command", [b"NOOP\r\n", b"RSET\r\n", b"HELP\r\n", b"VRFY a\r\n", EHLO, HELO, MAIL + b"RSET\r\n"]
)
def test_chatter_that_brings_no_mail_comes_to_an_end(command: bytes) -> None:
    """A hundred commands in a row; what is behind them is not read."""
    machine = Machine()
    machine.says(EHLO)
    for _ in range(150):
        machine.says(command)
    assert machine.is_closed
    assert machine.codes[-1] == 421
    assert len(machine.codes) <= 1 + 1 + 2 * 101 + 1


def test_mail_makes_new_room_for_chatter() -> None:
    """A client that keeps its connection and sends now and then is no chatterer."""
    machine = Machine()
    machine.says(EHLO)
    for _ in range(10):
        machine.says(b"NOOP\r\n" * 30, MAIL, RCPT, b"DATA\r\n", b"x\r\n.\r\n")
    assert len(machine.messages) == 10
    assert not machine.is_closed


def test_a_flood_of_recipients_comes_to_an_end() -> None:
    """Beyond the limit each one is refused, for a while; nothing is kept of them."""
    machine = Machine()
    machine.says(EHLO, MAIL)
    for _ in range(2500):
        machine.says(RCPT)
    assert machine.is_closed
    assert machine.codes[-1] == 421
    assert len(machine.rcpts) == 1000
    lines(machine.replies)


def test_a_flood_of_refused_recipients_comes_to_an_end() -> None:
    """A harvester of addresses has twenty."""
    machine = Machine()
    machine.says(EHLO, MAIL, b"RCPT TO:<a b@c>\r\n" * 2000)
    assert machine.is_closed
    assert len(machine.codes) <= 3 + 21
