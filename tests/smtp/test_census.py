"""The census: what was heard and said, by verb and by code, in all sessions that share it."""

from collections.abc import Iterator

import pytest

from relayd.smtp.census import Census
from relayd.smtp.facts import Facts
from relayd.smtp.server import Session
from tests.smtp.sessions import FACTS


def heard(census: Census, *said: bytes, facts: Facts = FACTS) -> bytes:
    """One session with these octets, every verdict positive; what it said."""
    session = Session(facts, census)
    output = session.output()
    for octets in said:
        session.feed(octets)
        for _ in _events(session):
            output += session.output()
        output += session.output()
    return output


def _events(session: Session) -> Iterator[None]:
    while session.next_event() is not None:
        if session.pending is not None:
            session.answer()
        yield


def codes(output: bytes) -> dict[int, int]:
    """How often each code ends a reply in these octets."""
    found: dict[int, int] = {}
    for line in output.splitlines():
        if line[3:4] == b" ":
            found[int(line[:3])] = found.get(int(line[:3]), 0) + 1
    return found


def test_each_command_and_each_reply_is_counted_once() -> None:
    """Replies of several lines too, and the end of the mail data has one of its own."""
    census = Census()
    output = heard(
        census,
        b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
        b"MAIL is no command here\r\n.\r\nnoop\r\nFROB\r\nQUIT\r\n",
    )
    verbs = {"EHLO": 1, "MAIL": 1, "RCPT": 1, "DATA": 1, "NOOP": 1, "other": 1, "QUIT": 1}
    assert census.commands == verbs
    assert census.replies == codes(output) == {220: 1, 250: 5, 354: 1, 500: 1, 221: 1}


def test_sessions_share_it() -> None:
    """The sum is over all of them."""
    census = Census()
    for _ in range(3):
        heard(census, b"QUIT\r\n")
    assert census.commands == {"QUIT": 3}
    assert census.replies == {220: 3, 221: 3}


def test_a_greeting_that_was_taken_back_was_not_said() -> None:
    """A client that spoke first hears 554 instead."""
    census = Census()
    session = Session(FACTS, census)
    session.speak_before_greeting()
    assert codes(session.output()) == census.replies == {554: 1}


@pytest.mark.parametrize("line", [b"\xff\xfe", b"", b"x" * 600, b"GET / HTTP/1.1", "ﬀOO".encode(), b"a\0b"])
def test_whatever_a_client_says_the_verbs_stay_bounded(line: bytes) -> None:
    """No name of its making becomes one of ours."""
    census = Census()
    output = heard(census, line + b"\r\n")
    assert set(census.commands) <= {"other"}
    assert census.replies == codes(output)
