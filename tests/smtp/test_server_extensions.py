"""The session machine where extensions change it: chunks, TLS, AUTH. What it says is in the dialogues."""

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.address import Address
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.data import BARE_CR
from relayd.smtp.reply import reply
from relayd.smtp.server import Abandoned, Auth, Content, Data, EndOfData, Facts, Session, StartTls, State
from tests.smtp.sessions import FACTS, QUEUED, UNTIL, play, session, waiting_for

# Chunks (RFC 3030).


@given(
    st.lists(st.sampled_from([b"a", b"\r\n", b"\r", b"\n", b"\0", b".", b"\r\n.\r\n"]), max_size=8),
    st.lists(st.integers(0, 100), max_size=4),
    st.booleans(),
)
def test_a_message_in_chunks_is_what_it_is_in_one(parts: list[bytes], cuts: list[int], normalize: bool) -> None:
    """Wherever the chunks end, and with the same faults; a last line without its end gets one."""
    data = b"".join(parts)
    facts = Facts("h", "1", 1, normalize=normalize, trusted=True)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(places)]
    wire = b"".join(b"BDAT %d\r\n" % len(each) + each for each in chunks)
    output, messages = play([UNTIL[Rcpt] + wire + b"BDAT 0 LAST\r\n"], facts)
    single, expected = play([UNTIL[Rcpt] + b"BDAT %d LAST\r\n" % len(data) + data], facts)
    assert messages == expected
    faults = [line for line in output.splitlines() if line.startswith(b"55")]
    assert faults == [line for line in single.splitlines() if line.startswith(b"55")]
    bare = re.sub(rb"\r\n", b"", data)
    is_sound = not re.search(rb"[\r\0]" if normalize else rb"[\r\n\0]", bare) and not data.endswith(b"\r")
    whole = (data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) if normalize else data
    whole += b"" if not whole or whole.endswith(b"\r\n") else b"\r\n"
    assert [message for _, _, message in messages] == ([whole] if is_sound else [])


@pytest.mark.parametrize("command", [b"RSET", b"HELO c", b"EHLO c"])
def test_chunks_that_are_forgotten_are_said_to_be(command: bytes) -> None:
    """Whoever keeps what came of them hears that it will have no end, once."""
    new = waiting_for(Rcpt)
    new.answer()
    new.feed(b"BDAT 3\r\na\r\n" + command + b"\r\nNOOP\r\n")
    assert new.next_event() == Data()
    new.answer()
    assert [new.next_event(), new.state] == [Content(b"a\r\n"), State.DATA]
    assert [new.next_event(), new.state] == [Abandoned(), State.READY]
    assert new.next_event() is None
    assert new.transaction is None


def test_a_fault_ends_the_message_with_its_chunk() -> None:
    """The event of the end comes at once, so that nothing is kept of it; the chunks behind are refused."""
    new = waiting_for(Rcpt)
    new.answer()
    new.feed(b"BDAT 3\r\na\rbBDAT 1 LAST\r\nc")
    assert new.next_event() == Data()
    new.answer()
    new.output()
    assert new.next_event() == EndOfData(1, BARE_CR)
    new.answer(QUEUED)
    assert new.next_event() is None
    assert new.output() == bytes(BARE_CR) + b"503 5.5.1 Error: need rcpt command\r\n"


def test_a_message_in_chunks_has_the_same_limit() -> None:
    """As stored, with the CR LF of its last line; a chunk that cannot fit is not even begun."""
    facts = Facts("h", "1", 1, normalize=True, trusted=True, maximum_message=8)
    for data, fits in ((b"123456", True), (b"1234567", False), (b"1\n345", True), (b"1\n3456", False)):
        wire = b"BDAT 3\r\n" + data[:3] + b"BDAT %d LAST\r\n" % (len(data) - 3) + data[3:]
        output, messages = play([UNTIL[Rcpt] + wire], facts)
        assert (len(messages) == 1, output.count(b"552 5.3.4 ")) == (fits, int(not fits))
    new = waiting_for(Rcpt, facts)
    new.answer()
    new.output()
    new.feed(b"BDAT 3\r\n123BDAT 6\r\n456789NOOP\r\n")
    assert new.next_event() == Data()
    new.answer()
    assert [new.next_event(), new.next_event(), new.next_event()] == [Content(b"123"), Abandoned(), None]
    assert new.output().splitlines() == [
        b"250 2.0.0 3 octets received",
        b"552 5.3.4 Error: message size exceeds the fixed limit",
        b"250 2.0.0 Ok",
    ]
    assert new.transaction is None


def test_a_refused_first_chunk_is_read_before_the_refusal_is_said() -> None:
    """Section 2; but 421 is for the session, and does not wait."""
    for code, said in ((451, b""), (421, b"421 no\r\n")):
        new = waiting_for(Rcpt)
        new.answer()
        new.feed(b"BDAT 6 LAST\r\nQU")
        assert new.next_event() == Data()
        new.output()
        new.answer(reply(code, None, "no"))
        assert new.next_event() is None
        assert new.output() == said
        new.feed(b"IT\r\nNOOP\r\n")
        assert new.next_event() is None
        assert new.output() == (b"451 no\r\n250 2.0.0 Ok\r\n" if code == 451 else b"")


def test_a_chunk_that_nobody_wants_takes_no_room() -> None:
    """However large it says it is."""
    new = session()
    new.feed(b"BDAT 99999999999999999999 LAST\r\n")
    for _ in range(100):
        new.feed(b"NOOP\r\n" * 1000)
        assert new.next_event() is None
        assert new.backlog == 0
    assert new.output() == b""


def test_a_loop_shows_in_chunks_too() -> None:
    """RFC 5321 section 6.3: Received lines are counted across the ends of chunks."""
    for hops in (100, 101):
        data = b"Received: from a by b\r\n" * hops + b"\r\nReceived: not a hop\r\n"
        chunks = [data[place : place + 7] for place in range(0, len(data), 7)]
        wire = b"".join(b"BDAT %d\r\n" % len(each) + each for each in chunks) + b"BDAT 0 LAST\r\n"
        output, messages = play([UNTIL[Rcpt] + wire])
        assert len(messages) == (hops == 100)
        assert (b"554 5.4.6 " in output) == (hops == 101)


def test_a_large_chunk_passes_through_in_pieces() -> None:
    """What has been given out is not kept, however much of the chunk is still to come."""
    new = waiting_for(Rcpt)
    new.answer()
    piece = (b"x" * 78 + b"\r\n") * 1000
    new.feed(b"BDAT %d LAST\r\n" % (100 * len(piece)))
    assert new.next_event() == Data()
    new.answer()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(99):
            new.feed(piece)
            assert sum(len(event.octets) for event in iter(new.next_event, None) if isinstance(event, Content))
            assert new.backlog == 0
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(piece)
    new.feed(piece)
    assert [*iter(new.next_event, None)][-1] == EndOfData(100 * len(piece), None)


# TLS (RFC 3207) and AUTH (RFC 4954).


def test_tls_forgets_all_that_was_said_in_the_clear() -> None:
    """Section 4.2: the name, the user, what was in the transaction; EHLO has to come again."""
    new = session()
    new.feed(b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\n")
    assert new.next_event() == Auth("PLAIN", "a", "b")
    new.answer()
    assert (new.user, new.is_trusted) == ("a", True)
    new.feed(b"STARTTLS\r\n")
    assert new.next_event() == StartTls()
    new.output()
    new.answer()
    assert (new.output(), new.state) == (b"220 2.0.0 Ready to start TLS\r\n", State.TLS)
    new.feed(b"EHLO mallory\r\n")
    assert (new.next_event(), new.backlog, new.output()) == (None, 0, b"")
    new.secure()
    assert new.is_secure
    assert (new.state, new.client_name, new.is_extended, new.user) == (State.START, "", False, "")
    assert not new.is_trusted
    new.feed(b"MAIL FROM:<a@b>\r\n")
    assert new.next_event() is None
    assert new.output() == b"503 5.5.1 Error: send HELO/EHLO first\r\n"


def test_a_handshake_that_nobody_began_is_our_own_mistake() -> None:
    """What is said in the clear must not pass for what was said inside; but one that ends too late is nothing."""
    with pytest.raises(AssertionError):
        session().secure()
    late = waiting_for(StartTls)
    late.answer()
    late.output()
    late.time_out()
    late.secure()
    assert (late.state, late.is_secure) == (State.CLOSED, False)


def test_nothing_is_said_in_the_clear_after_the_220() -> None:
    """A session that ends during the handshake ends without a word, but it is known which one it would be."""
    for close in (Session.time_out, Session.shut_down):
        closed = waiting_for(StartTls)
        closed.answer()
        close(closed)
        assert closed.output() == b"220 2.0.0 Ready to start TLS\r\n"
        assert closed.state is State.CLOSED
        assert closed.last_word is not None
        assert closed.last_word.code == 421


def test_a_user_may_what_a_trusted_network_may() -> None:
    """From the accepted AUTH on: `origin` applies, and bare LF is mended."""
    facts = Facts("h", "1", 1, auth="offered", auth_in_clear=True, origin="example.org", normalize=True)
    transaction = b"MAIL FROM:<root>\r\nRCPT TO:<cron>\r\nBDAT 2 LAST\r\nx\n"
    refused, messages = play([b"EHLO c\r\n" + transaction], facts)
    assert (refused.count(b"501 5.5.4 Syntax: MAIL"), messages) == (1, [])
    _, messages = play([b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\n" + transaction], facts)
    assert messages == [(Mail(Address("root", "example.org")), [Address("cron", "example.org")], b"x\r\n")]


def test_a_password_is_not_written_down() -> None:
    """Neither by repr nor by str."""
    event = Auth("LOGIN", "alice", "secret")
    assert "secret" not in f"{event!r} {event}"


def test_a_client_that_spoke_first_is_not_greeted() -> None:
    """RFC 5321 section 3.1: it has not waited for the greeting, and so not for anything else."""
    new = Session(FACTS)
    new.speak_before_greeting()
    new.feed(b"EHLO c\r\n")
    assert new.next_event() is None
    assert new.output() == b"554 5.5.0 Error: the client spoke before the greeting\r\n"
    assert new.state is State.CLOSED


def test_the_last_word_says_why_a_session_was_closed() -> None:
    """For the log."""
    closed = session()
    assert closed.last_word is None
    closed.feed(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert closed.next_event() is None
    assert str(closed.last_word) == "554 5.5.0 Error: this is SMTP, not HTTP"


def test_refusals_of_recipients_are_counted_until_mail_comes() -> None:
    """A thousand in a row are too many; an accepted message begins a new row."""
    facts = Facts("h", "1", 1, maximum_recipients=1)
    flood = b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 1000
    output, _ = play([b"HELO c\r\n", flood + b"BDAT 0 LAST\r\n", flood], facts)
    assert output.count(b"452") == 2 * 999
    assert b"421" not in output
    output, _ = play([b"HELO c\r\n" + flood + b"RCPT TO:<c@d>\r\n"], facts)
    assert output.endswith(
        b"452 4.5.3 Error: too many recipients\r\n421 4.7.0 h Error: too many refused commands\r\n"
    )


def test_a_line_of_the_auth_exchange_has_its_own_bound() -> None:
    """RFC 4954 section 4; what comes after it is a command again."""
    new = session()
    new.feed(b"EHLO c\r\nAUTH LOGIN\r\n")
    assert new.next_event() is None
    new.output()
    new.feed(b"x" * 12_286 + b"\r\n")
    assert new.next_event() is None
    assert new.output().startswith(b"501 5.5.2 ")
    new.feed(b"AUTH LOGIN\r\n" + b"x" * 12_287 + b"\r\nNOOP\r\n")
    assert new.next_event() is None
    assert new.output().splitlines()[1:] == [
        b"500 5.5.6 Error: authentication exchange line is too long",
        b"250 2.0.0 Ok",
    ]
