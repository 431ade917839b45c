"""A transaction that begins with the mail data of the one before it: each reply goes where it belongs."""

from dataclasses import dataclass, field

import pytest

from relayd.smtp.client import Conversation, Finished, Order, Phase, Result, SendContent
from tests.smtp.script import DOT, EHLO, LOST, PIPELINING, Case, Line, ready, run

FIRST = Order("first@a", ("b@c",))
SECOND = Order("second@a", ("d@e", "f@g"))
THIRD = Order("third@a", ("h@i",))
TO_CONTENT: tuple[Line, ...] = (b"250 a\r\n", b"250 b\r\n", b"354 c\r\n", DOT)


def at_the_dot(greeting: tuple[bytes, ...] = PIPELINING) -> Conversation:
    """A conversation whose first transaction waits for its final reply."""
    conversation = ready(*greeting)
    conversation.begin(FIRST)
    run(conversation, *TO_CONTENT)
    return conversation


def followed() -> Conversation:
    """The same, with the commands of the second on their way."""
    conversation = at_the_dot()
    conversation.begin(SECOND)
    conversation.output()
    return conversation


@dataclass(frozen=True)
class Both:
    """What the server says from the first final dot on, and what it comes to for the first and for the second.

    `says` is as in Case. `is_unheard` is the second.
    """

    says: str
    first: list[int]
    second: list[int]
    phase: Phase = Phase.READY
    first_doubt: set[int] = field(default_factory=set)
    second_doubt: set[int] = field(default_factory=set)
    is_unheard: bool = False


BOTH = {
    "both taken": Both("250 250 250 250 354 DOT 250", [250], [250, 250]),
    "all that can be in one write": Both("250+250+250+250+354 DOT 250", [250], [250, 250]),
    "the first refused for now": Both("451 250 250 250 354 DOT 250", [451], [250, 250]),
    "the first refused for good": Both("554+250+250+250+354 DOT 250", [554], [250, 250]),
    "one recipient of the second refused": Both("250 250 550 250 354 DOT 250", [250], [550, 250]),
    "the second refused at its dot": Both("250 250 250 250 354 DOT 452", [250], [452, 452]),
    "the second refused at MAIL": Both("250 550 503 503 503 250", [250], [550, 550]),
    "an address that MAIL does not understand": Both("250 501+503+503+503 250", [250], [501, 501]),
    "all recipients refused": Both("250 250 550 450 554 250", [250], [550, 450]),
    "all refused, 354 all the same": Both("250+250+550+450+354 554", [250], [550, 450]),
    "421 to all refused and the empty message": Both("250 250 550 450 354 421", [250], [550, 450], Phase.CLOSED),
    # What ends the conversation before the second has an answer.
    "421 at the first dot": Both("421", [421], [421, 421], Phase.CLOSED, is_unheard=True),
    "lost after the first dot": Both("LOST", [451], [451, 451], Phase.CLOSED, {0}, is_unheard=True),
    "lost in the first final reply": Both("half-250 LOST", [451], [451, 451], Phase.CLOSED, {0}, is_unheard=True),
    "nonsense after the first dot": Both("what", [451], [451, 451], Phase.CLOSED, {0}, is_unheard=True),
    "354 after the first dot": Both("354", [451], [451, 451], Phase.CLOSED, {0}, is_unheard=True),
    "lost after the first final reply": Both("250 LOST", [250], [451, 451], Phase.CLOSED, is_unheard=True),
    "lost in the reply to MAIL": Both("250 half-250 LOST", [250], [451, 451], Phase.CLOSED, is_unheard=True),
    "refused, and lost": Both("554 LOST", [554], [451, 451], Phase.CLOSED, is_unheard=True),
    "421 to MAIL": Both("250+421", [250], [421, 421], Phase.CLOSED, is_unheard=True),
    "354 to MAIL": Both("250 354", [250], [451, 451], Phase.CLOSED, is_unheard=True),
    # A server that drops what comes with mail data, or the first half of it, has not refused the message.
    "MAIL was dropped": Both("250 503 503", [250], [451, 451], Phase.CLOSED, is_unheard=True),
    "half of MAIL was dropped": Both("250+500+503+503+503", [250], [451, 451], Phase.CLOSED, is_unheard=True),
    "MAIL is not implemented": Both("250 502", [250], [451, 451], Phase.CLOSED, is_unheard=True),
    # What ends it later.
    "lost after MAIL": Both("250 250 LOST", [250], [451, 451], Phase.CLOSED),
    "421 to the second RCPT": Both("250 250 550 421", [250], [550, 421], Phase.CLOSED),
    "lost at DATA": Both("250+250+250+550 LOST", [250], [451, 550], Phase.CLOSED),
    "lost in the mail data": Both("250+250+550+250+354 LOST", [250], [550, 451], Phase.CLOSED),
    "lost after the second dot": Both("250 250 250 550 354 DOT LOST", [250], [451, 550], Phase.CLOSED, set(), {0}),
    "421 at the second dot": Both("250 250 250 250 354 DOT 421", [250], [421, 421], Phase.CLOSED),
    # A reply too many: nobody knows what is about what, and no mail data goes.
    "two final replies": Both("250+250+250+250+250+354", [250], [451, 451], Phase.CLOSED),
    "two final replies, the recipients refused": Both("250+250 250 550 550 554", [250], [550, 550], Phase.CLOSED),
    "one more behind 354": Both("250+250+250+250+354+250", [250], [451, 451], Phase.CLOSED),
    "one more behind the second final reply": Both(
        "250 250 250 250 354 DOT 250+250", [250], [250, 250], Phase.CLOSED
    ),
}


def results(conversation: Conversation, *script: Line, bytewise: bool = False) -> list[Result]:
    """What the transactions came to that ended meanwhile."""
    events = run(conversation, *script, bytewise=bytewise)
    return [event.result for event in events if isinstance(event, Finished)]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("both", BOTH.values(), ids=BOTH)
def test_each_transaction_gets_what_was_said_of_it(both: Both, bytewise: bool) -> None:
    """And only who had mail data sent, and no reply to its end, is in doubt."""
    conversation = followed()
    first, second = results(conversation, *Case(both.says, []).script, bytewise=bytewise)
    assert [each.code for each in first.replies] == both.first
    assert [each.code for each in second.replies] == both.second
    assert first.in_doubt == both.first_doubt
    assert second.in_doubt == both.second_doubt
    assert (first.is_unheard, second.is_unheard) == (False, both.is_unheard)
    assert conversation.phase is both.phase
    assert conversation.phase is not Phase.CLOSED or conversation.output() == b""


def test_the_commands_go_behind_the_mail_data() -> None:
    """All of them in one group, DATA last (RFC 2920 section 3.1); then no other may follow."""
    conversation = at_the_dot()
    assert conversation.may_follow
    conversation.begin(SECOND)
    assert conversation.output() == b"MAIL FROM:<second@a>\r\nRCPT TO:<d@e>\r\nRCPT TO:<f@g>\r\nDATA\r\n"
    assert conversation.phase is Phase.FINAL
    assert not conversation.may_follow


@pytest.mark.parametrize("greeting", [EHLO, (b"220 mx\r\n", b"500 what\r\n", b"250 mx\r\n")], ids=["EHLO", "HELO"])
def test_without_pipelining_nothing_may_follow(greeting: tuple[bytes, ...]) -> None:
    """The server is owed that we wait (section 4.3.1)."""
    conversation = ready(*greeting)
    conversation.begin(FIRST)
    run(conversation, *TO_CONTENT)
    assert conversation.phase is Phase.FINAL
    assert not conversation.may_follow


def test_nothing_may_follow_before_the_mail_data_has_gone() -> None:
    """Where DATA is not answered yet, a command would be mail data; in between transactions it simply begins."""
    conversation = ready(*PIPELINING)
    assert not conversation.may_follow
    conversation.begin(FIRST)
    assert not conversation.may_follow
    assert run(conversation, b"250 a\r\n250 b\r\n354 c\r\n") == [SendContent()]
    assert not conversation.may_follow
    run(conversation, LOST)
    assert not conversation.may_follow


def test_the_empty_message_has_gone_before_something_follows_it() -> None:
    """It is one of our lines: until that is taken, what follows it would be told as if it were one with it."""
    conversation = ready(*PIPELINING)
    conversation.begin(FIRST)
    run(conversation, b"250 a\r\n550 b\r\n354 c\r\n")
    assert not conversation.may_follow
    assert conversation.output() == b".\r\n"
    assert conversation.may_follow
    conversation.begin(SECOND)
    assert conversation.output().startswith(b"MAIL FROM:<second@a>\r\n")
    first, second = results(conversation, b"554 no\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n", DOT, b"250 e\r\n")
    assert [each.code for each in (*first.replies, *second.replies)] == [550, 250, 250]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
def test_one_follows_the_other(bytewise: bool) -> None:
    """Each begins with the mail data of the one before; replies to one come with the last to the other."""
    conversation = at_the_dot()
    said = b"250 last\r\n250 a\r\n250 b\r\n354 c\r\n"
    for number in range(10):
        order = Order(f"{number}@a", ("b@c",))
        conversation.begin(order)
        assert conversation.output().startswith(b"MAIL FROM:<%d@a>" % number)
        finished, wanted = run(conversation, said, bytewise=bytewise)
        assert isinstance(finished, Finished)
        assert [str(each) for each in finished.result.replies] == ["250 last"]
        assert wanted == SendContent()
        conversation.content_sent()
    (finished,) = run(conversation, b"250 last\r\n")
    assert isinstance(finished, Finished)
    assert conversation.phase is Phase.READY


@pytest.mark.parametrize(
    ("said", "commands"),
    [
        (b"250 a\r\n550 b\r\n550 c\r\n554 d\r\n", b"RSET\r\n"),
        (b"250 a\r\n550 b\r\n550 c\r\n354 d\r\n", b".\r\n"),
    ],
    ids=["RSET", "the empty message"],
)
def test_behind_one_that_nobody_receives_the_next_one_begins(said: bytes, commands: bytes) -> None:
    """When the server has answered what ends it."""
    conversation = followed()
    run(conversation, b"250 taken\r\n" + said)
    assert conversation.output() == commands
    run(conversation, b"250 ok\r\n")
    assert conversation.phase is Phase.READY
    conversation.begin(THIRD)
    (third,) = results(conversation, *TO_CONTENT, b"250 taken\r\n")
    assert [str(each) for each in third.replies] == ["250 taken"]


# What is told of them.


def told(event: object) -> list[str]:
    """What a transaction's transcript says from the greeting on, without the times."""
    assert isinstance(event, Finished)
    return [line.partition(" ")[2] for line in event.transcript.lines()]


OPENING = ["S 220 mx ready", "C EHLO relay.example.org", "S 250-mx", "S 250 PIPELINING"]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
def test_neither_transcript_has_anything_of_the_other(bytewise: bool) -> None:
    """A sender is shown what was said of the own message, and never to whom another one went."""
    conversation = followed()
    events = run(conversation, b"451 busy\r\n250 a\r\n550 b\r\n550 c\r\n554 d\r\n", bytewise=bytewise)
    first, second = [told(event) for event in events]
    assert first == [
        *OPENING,
        "C MAIL FROM:<first@a>",
        "C RCPT TO:<b@c>",
        "C DATA",
        "S 250 a",
        "S 250 b",
        "S 354 c",
        "C [mail data and its end]",
        "S 451 busy",
    ]
    assert second == [
        *OPENING,
        "C MAIL FROM:<second@a>",
        "C RCPT TO:<d@e>",
        "C RCPT TO:<f@g>",
        "C DATA",
        "S 250 a",
        "S 550 b",
        "S 550 c",
        "S 554 d",
    ]


def test_both_transcripts_say_how_the_connection_ended() -> None:
    """Whichever of them it was that waited."""
    first, second = [told(event) for event in run(followed(), LOST)]
    assert (first[-1], second[-2:]) == ("- lost", ["C DATA", "- lost"])
    first, second = [told(event) for event in run(followed(), b"421 enough\r\n")]
    assert (first[-1], second[-2:]) == ("S 421 enough", ["C DATA", "- enough"])


def test_what_is_said_in_the_second_does_not_come_to_the_first() -> None:
    """Nor later on, when its transcript is put into words."""
    conversation = followed()
    (first,) = run(conversation, b"451 busy\r\n")
    (wanted,) = run(conversation, b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n")
    assert wanted == SendContent()
    (second,) = run(conversation, LOST)
    assert told(first)[-2:] == ["C [mail data and its end]", "S 451 busy"]
    assert told(second)[-2:] == ["S 354 d", "- lost"]
