"""A transcript: who said what and when, in words for people, bounded, with nothing a terminal would obey."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.client import Conversation, Finished, Order, Ready
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import LONGEST_LINE, MOST_LINES, Transcript
from tests.smtp.script import DOT, EHLO, LOST, PIPELINING, Line, run

ORDER = Order("a@b", ("b@c",))


def told(*script: Line) -> list[str]:
    """What the transcript has of a conversation, each line a second after connect() and after the one before."""
    seconds = itertools.count()
    transcript = Transcript(lambda: next(seconds))
    conversation = Conversation("me", transcript)
    for place, step in enumerate(script, start=1):
        if any(isinstance(event, Ready) for event in run(conversation, step)):
            conversation.begin(ORDER)
            run(conversation, *script[place:])
            break
    conversation.output()
    return list(conversation.transcript.lines())


def words(*script: Line) -> list[str]:
    """The same without the times."""
    return [line.partition(" ")[2] for line in told(*script)]


def test_each_line_has_its_time_and_its_speaker() -> None:
    """Seconds since connect(), to the millisecond."""
    assert told(b"220 mx ready\r\n", b"554-no\r\n554 never\r\n") == [
        "1.000 S 220 mx ready",
        "2.000 C EHLO me",
        "3.000 S 554-no",
        "3.000 S 554 never",
        "4.000 C HELO me",
    ]


def test_a_transaction_is_told_from_the_greeting_to_the_final_reply() -> None:
    """Command after command, without the mail data."""
    assert words(
        *EHLO, b"250 2.1.0 Ok\r\n", b"250 2.1.5 Ok\r\n", b"354 go\r\n", DOT, b"451 4.3.0 not now\r\n"
    ) == [
        "S 220 mx ready",
        "C EHLO me",
        "S 250 mx",
        "C MAIL FROM:<a@b>",
        "S 250 2.1.0 Ok",
        "C RCPT TO:<b@c>",
        "S 250 2.1.5 Ok",
        "C DATA",
        "S 354 go",
        "C [mail data and its end]",
        "S 451 4.3.0 not now",
    ]


def test_pipelined_commands_are_a_line_each() -> None:
    """Before the replies, as they went."""
    assert words(*PIPELINING, b"250 a\r\n550 b\r\n554 c\r\n")[4:] == [
        "C MAIL FROM:<a@b>",
        "C RCPT TO:<b@c>",
        "C DATA",
        "S 250 a",
        "S 550 b",
        "S 554 c",
        "C RSET",
    ]


def test_how_it_ended_is_told_where_the_server_did_not_say_it() -> None:
    """A lost connection and a breach of the protocol; a 421 speaks for itself."""
    assert words(b"220 mx\r\n", LOST)[-1] == "- lost"
    assert words(b"what?\r\n") == ["- protocol error: not a reply: what?"]
    assert words(*EHLO, b"421 busy\r\n")[-1] == "S 421 busy"


def test_a_command_that_did_not_go_is_not_told() -> None:
    """The server had left before EHLO."""
    assert words(b"220 mx\r\n421 busy\r\n") == ["S 220 mx", "S 421 busy"]


def test_a_transaction_on_a_kept_connection_begins_a_new_one() -> None:
    """After the greeting; nothing of the mail before it is left."""
    opening = Transcript()
    conversation = Conversation("me", opening)
    run(conversation, *EHLO)
    for path in ("first@c", "second@c"):
        conversation.begin(Order(path, ("b@c",)))
        (finished,) = run(conversation, b"550 no\r\n", b"250 reset\r\n")
        assert isinstance(finished, Finished)
        assert [line.partition(" ")[2] for line in finished.transcript.lines()] == [
            "S 220 mx ready",
            "C EHLO me",
            "S 250 mx",
            f"C MAIL FROM:<{path}>",
            "S 550 no",
            "C RSET",
            "S 250 reset",
        ]
    assert len(opening.lines()) == 3


def test_the_middle_of_a_long_one_is_cut_out() -> None:
    """With how much that is; what fits is whole."""
    transcript = Transcript()
    transcript.heard(Reply(250, None, tuple(f"line {number}" for number in range(MOST_LINES))), 0.0)
    assert len(transcript.lines()) == MOST_LINES
    assert "left out" not in "".join(transcript.lines())
    transcript.ended(reply(451, "4.4.2", "lost"))
    lines = transcript.lines()
    assert len(lines) == MOST_LINES
    assert lines[MOST_LINES // 2 - 1 : MOST_LINES // 2 + 2] == (
        f"0.000 S 250-line {MOST_LINES // 2 - 1}",
        "… 2 lines left out",
        f"0.000 S 250-line {MOST_LINES // 2 + 2}",
    )
    assert lines[-1] == "0.000 - lost"


@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"220 x\x1b[2J\r\n", b"250-\xe2\x80\xae\r\n"])))
def test_whatever_a_server_says_stays_printable_and_bounded(said: list[bytes]) -> None:
    """Control characters and what turns the direction of a line come as escapes."""
    transcript = Transcript()
    conversation = Conversation("me", transcript)
    for octets in said:
        conversation.feed(octets)
        conversation.output()
    lines = transcript.lines()
    assert len(lines) <= MOST_LINES
    assert all(line.isprintable() and len(line) < LONGEST_LINE + 20 for line in lines)


def test_a_long_line_is_cut() -> None:
    """And one can see that it was."""
    transcript = Transcript()
    transcript.heard(reply(550, None, "x" * 1000), 0.0)
    (line,) = transcript.lines()
    assert len(line) == len("0.000 ") + LONGEST_LINE + 1
    assert line.endswith("x…")


def test_control_characters_come_as_escapes() -> None:
    """Whoever made the reply."""
    transcript = Transcript()
    transcript.heard(Reply(550, None, ("\x1b[2J\u202eno",)), 0.0)
    assert transcript.lines() == (r"0.000 S 550 \x1b[2J\u202eno",)
