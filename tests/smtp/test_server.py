"""The session machine: events, verdicts and the state it shows. What it says is in the dialogues."""

import re
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.address import Address
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.data import BARE_CR
from relayd.smtp.input import MAXIMUM_LINE
from relayd.smtp.reply import Reply, reply
from relayd.smtp.server import (
    Auth,
    Content,
    Data,
    EndOfData,
    Event,
    Facts,
    Session,
    StartTls,
    State,
)
from tests.smtp.sessions import FACTS, QUEUED, TOO_EARLY, UNTIL, play, polite, session, waiting_for

# Verdicts.


@pytest.mark.parametrize("kind", UNTIL)
def test_nothing_is_said_and_nothing_is_read_while_a_verdict_is_owed(kind: type[Event]) -> None:
    """The event comes once; what is pipelined behind it waits, where it may be."""
    waiting = waiting_for(kind)
    waiting.feed(b"NOOP\r\nQUIT\r\n")
    assert waiting.pending is not None
    assert [waiting.next_event(), waiting.next_event()] == [None, None]
    assert waiting.output() == b""
    assert waiting.backlog == len(b"NOOP\r\nQUIT\r\n")
    waiting.answer()
    assert waiting.pending is None
    if kind in (Data, StartTls):
        assert waiting.output() == TOO_EARLY
        assert waiting.state is State.CLOSED
    else:
        assert waiting.output()[:1] in b"23"


@pytest.mark.parametrize("close", [Session.time_out, Session.shut_down], ids=["time_out", "shut_down"])
@pytest.mark.parametrize("kind", UNTIL)
def test_a_verdict_after_the_close_is_ignored(kind: type[Event], close: Callable[[Session], None]) -> None:
    """421 was the last word: no reply follows it, whatever the verdict is and however often it comes."""
    closed = waiting_for(kind)
    close(closed)
    assert closed.state is State.CLOSED
    assert closed.pending is None
    assert closed.output().startswith(b"421 ")
    for verdict in (None, QUEUED, reply(452, "4.3.1", "No room")):
        closed.answer(verdict)
    closed.feed(b"NOOP\r\n")
    assert closed.next_event() is None
    assert closed.output() == b""
    assert (closed.state, closed.transaction, closed.backlog) == (State.CLOSED, None, 0)


def test_a_session_is_closed_once() -> None:
    """A timeout during a shutdown adds no second 421."""
    closed = session()
    closed.shut_down()
    closed.time_out()
    closed.shut_down()
    assert closed.output().count(b"421") == 1


def test_a_verdict_that_nobody_asked_for_is_our_own_mistake() -> None:
    """It must not become a reply that the client counts for another command."""
    with pytest.raises(AssertionError):
        session().answer()


@pytest.mark.parametrize("kind", UNTIL)
def test_a_verdict_of_421_closes(kind: type[Event]) -> None:
    """Section 4.2.2: that is what the code says."""
    closed = waiting_for(kind)
    closed.feed(b"NOOP\r\n")
    closed.answer(reply(421, "4.3.2", "too busy"))
    assert closed.output() == b"421 4.3.2 too busy\r\n"
    assert closed.state is State.CLOSED
    assert closed.next_event() is None


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (Mail, State.READY),
        (Rcpt, State.MAIL),
        (Data, State.READY),
        (EndOfData, State.READY),
        (StartTls, State.READY),
        (Auth, State.READY),
    ],
)
def test_a_refusal_is_said_and_undone(kind: type[Event], state: State) -> None:
    """After a refused DATA or message the transaction is over (section 4.1.1.4)."""
    refused = waiting_for(kind)
    refused.answer(reply(451, "4.3.0", "not now"))
    assert (refused.user, refused.is_trusted) == ("", False)
    assert refused.output() == b"451 4.3.0 not now\r\n"
    assert refused.state is state
    assert (refused.transaction is None) == (state is State.READY)
    assert refused.transaction is None or refused.transaction.recipients == []


def test_a_verdict_may_have_its_own_words() -> None:
    """The 250 that names the message."""
    ended = waiting_for(EndOfData)
    ended.answer(QUEUED)
    assert ended.output() == b"250 2.0.0 Ok: queued as X\r\n"
    assert (ended.state, ended.transaction) == (State.READY, None)


def test_a_fault_of_the_mail_data_outranks_a_positive_verdict() -> None:
    """The machine has found that the message cannot be taken; nobody can say 250 to it by mistake."""
    ended = waiting_for(Data)
    ended.answer()
    ended.feed(b"a\rb\r\n.\r\n")
    event = ended.next_event()
    assert event == EndOfData(1, BARE_CR)
    ended.output()
    ended.answer(QUEUED)
    assert ended.output() == bytes(BARE_CR)


def test_the_twentieth_error_may_be_a_verdict() -> None:
    """The 421 follows it at once, and the session is closed."""
    closed = session()
    closed.feed(b"FOO\r\n" * 19 + b"HELO c\r\nMAIL FROM:<a@b>\r\nNOOP\r\n")
    assert isinstance(closed.next_event(), Mail)
    closed.output()
    closed.answer(reply(550, "5.7.1", "no"))
    assert closed.output() == b"550 5.7.1 no\r\n421 4.7.0 relay.example.org Error: too many errors\r\n"
    assert closed.next_event() is None


# What the connection may look at.


def test_the_session_shows_who_the_client_says_it_is() -> None:
    """For the trace line: the name, and whether it said EHLO."""
    new = session()
    assert (new.client_name, new.is_extended) == ("", False)
    new.feed(b"EHLO one.example\r\n")
    assert new.next_event() is None
    assert (new.client_name, new.is_extended) == ("one.example", True)
    new.feed(b"HELO [192.0.2.1] and more\r\n")
    assert new.next_event() is None
    assert (new.client_name, new.is_extended) == ("[192.0.2.1]", False)
    new.feed(b"HELO\r\n")
    assert new.next_event() is None
    assert new.client_name == "[192.0.2.1]"


def test_the_transaction_has_what_was_accepted() -> None:
    """The paths without their routes, in order; a repeated one twice."""
    paths = b"RCPT TO:<@x,@y:b@c>\r\nRCPT TO:<nonsense>\r\nRCPT TO:<PostMaster>\r\nRCPT TO:<b@c>\r\n"
    _, messages = play(
        [b"EHLO c\r\nMAIL FROM:<@x:a@b> SIZE=9 BODY=8BITMIME\r\n", paths, b"DATA\r\n", b"hi\r\n.\r\n"]
    )
    recipients = [Address("b", "c"), Address("PostMaster", ""), Address("b", "c")]
    assert messages == [(Mail(Address("a", "b"), 9, "8BITMIME"), recipients, b"hi\r\n")]


@pytest.mark.parametrize("command", [b"RSET", b"HELO c", b"EHLO c"])
def test_a_forgotten_transaction_is_not_shown(command: bytes) -> None:
    """Section 4.1.4: nothing of it is left for the next one."""
    new = waiting_for(Rcpt)
    new.answer()
    new.feed(command + b"\r\n")
    assert new.next_event() is None
    assert (new.state, new.transaction) == (State.READY, None)


# Input, however it comes.

LINES = [
    b"HELO c",
    b"EHLO c",
    b"MAIL FROM:<a@b>",
    b"RCPT TO:<c@d>",
    b"DATA",
    b"BDAT 7",
    b"BDAT 1 LAST",
    b"BDAT 0 LAST",
    b"BDAT",
    b".",
    b"..",
    b"RSET",
    b"NOOP \xff",
    b"bare\nline",
    b"bare\rreturn",
    b"nul\0",
    b"x" * 600,
    b"QUIT",
    b"",
]


@given(st.lists(st.sampled_from(LINES), max_size=20), st.lists(st.integers(0, 2000), max_size=6), st.booleans())
def test_the_session_does_not_see_where_writes_are_cut(
    lines: list[bytes], cuts: list[int], normalize: bool
) -> None:
    """The same replies and the same messages for one write, for each octet alone, and for any cuts."""
    wire = UNTIL[Rcpt] + b"\r\n".join(lines) + b"\r\n"
    facts = Facts("h", "1", 1, normalize=normalize, trusted=True, maximum_message=1000, starttls=True)
    whole = play(polite(wire), facts)
    after_data = [found.end() for found in re.finditer(rb"^DATA\r\n", wire, re.MULTILINE)]
    places = [0, *sorted([*after_data, *(cut % (len(wire) + 1) for cut in cuts)]), len(wire)]
    assert play((wire[a:b] for a, b in pairwise(places)), facts) == whole
    assert play((wire[index : index + 1] for index in range(len(wire))), facts) == whole


def test_a_line_without_an_end_takes_no_room() -> None:
    """However much comes; when its end comes at last it is one line with one reply."""
    new = session()
    for _ in range(1000):
        new.feed(b"x" * 1000)
        assert new.next_event() is None
        assert new.backlog <= MAXIMUM_LINE
    assert new.output() == b""
    new.feed(b"\nNOOP\r\n")
    assert new.next_event() is None
    assert new.output() == b"500 5.5.2 Error: line too long\r\n250 2.0.0 Ok\r\n"


def test_a_long_pipelined_input_is_read_in_order_to_its_end() -> None:
    """Forty thousand commands and a thousand messages in one write."""
    message = b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 40 + b"BDAT 3\r\nx\r\nBDAT 3 LAST\r\ny\r\n"
    output, messages = play([b"HELO c\r\n" + message * 1000])
    assert output.count(b"\r\n") == 1 + 1 + 43 * 1000
    assert [data for _, _, data in messages] == [b"x\r\ny\r\n"] * 1000


def test_a_message_longer_than_a_piece_arrives_whole_from_one_write() -> None:
    """However much of it waits, and with the next one right behind it."""
    message = b"".join(b"%d\r\n" % number for number in range(50_000))
    chunk = b"BDAT %d LAST\r\n" % len(message) + message
    _, messages = play(
        [UNTIL[Data], message + b".\r\n" + UNTIL[Data], b"x\r\n" + message + b".\r\n" + UNTIL[Rcpt] + chunk]
    )
    assert [data for _, _, data in messages] == [message, b"x\r\n" + message, message]


def test_a_large_message_passes_through_in_pieces() -> None:
    """50 MB in chunks of 64 KiB: what has been given out is not kept."""
    new = waiting_for(Data)
    new.answer()
    chunk = (b"x" * 78 + b"\r\n") * 819 + b"y" * 16
    size = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(700):
            new.feed(chunk)
            for event in iter(new.next_event, None):
                assert isinstance(event, Content)
                size += len(event.octets)
            assert new.backlog == 0
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert size == 700 * len(chunk) < FACTS.maximum_message
    assert peak < 10 * len(chunk)


def test_what_exceeds_the_limit_is_dropped_as_it_comes() -> None:
    """No event carries it, and none of it is kept."""
    new = waiting_for(Data, Facts("h", "1", 1, maximum_message=100_000))
    new.answer()
    size = 0
    for _ in range(100):
        new.feed(b"x" * 9_998 + b"\r\n")
        for event in iter(new.next_event, None):
            assert isinstance(event, Content)
            size += len(event.octets)
        assert new.backlog == 0
    assert size <= 100_000
    new.feed(b".\r\nNOOP\r\n")
    event = new.next_event()
    assert isinstance(event, EndOfData)
    assert isinstance(event.fault, Reply)
    assert event.fault.code == 552


@pytest.mark.parametrize(
    ("begun", "longest"),
    [(b"NOOP x", 512), (b"MAIL FROM:<", 1181), (b"rcpt TO:<", 1048), (b"VRFY ", 522), (b"AUTH PLAIN ", 12_288)],
)
def test_of_a_line_that_does_not_end_no_more_is_kept_than_it_may_have(begun: bytes, longest: int) -> None:
    """Each command has its own bound; in whatever portions it comes, it is refused once, when its end comes."""
    new = session()
    new.feed(begun)
    kept = 0
    for _ in range(30_000):
        new.feed(b"x")
        assert new.next_event() is None
        kept = max(kept, new.backlog)
    assert kept == longest
    assert new.output() == b""
    new.feed(b"\r\nNOOP\r\n")
    assert new.next_event() is None
    assert new.output() == b"500 5.5.2 Error: line too long\r\n250 2.0.0 Ok\r\n"
