"""The conversation machine: its start, its end, and what it makes of a server that says anything at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.client import TIMEOUTS, Conversation, Finished, Over, Phase, Ready, SendContent
from tests.smtp.script import EHLO, LOSS, LOST, ORDER, Line, ready, run

# The start.


@pytest.mark.parametrize(
    ("says", "hears", "extensions"),
    [
        ([b"220 mx ready\r\n", b"250 mx\r\n"], [b"EHLO me\r\n"], {}),
        ([b"220 mx\n", b"250-mx\n250 8BITMIME\n"], [b"EHLO me\r\n"], {"8BITMIME": ""}),
        (
            [
                b"220-mx\r\n220 no spam\r\n",
                b"250-mx at your service\r\n250-size 500\r\n250-XFOO a b\r\n250 Pipelining\r\n",
            ],
            [b"EHLO me\r\n"],
            {"SIZE": "500", "XFOO": "a b", "PIPELINING": ""},
        ),
        # A code that the RFC does not have there is taken by its first digit (section 4.3.2).
        ([b"250 mx\r\n", b"200 mx\r\n"], [b"EHLO me\r\n"], {}),
        # Section 3.2: EHLO is not known. HELO has no extensions, whatever its reply looks like.
        ([b"220 mx\r\n", b"500 what\r\n", b"250-mx\r\n250 SIZE\r\n"], [b"EHLO me\r\n", b"HELO me\r\n"], {}),
        ([b"220 mx\r\n", b"502 5.5.1 no\r\n", b"250 mx\r\n"], [b"EHLO me\r\n", b"HELO me\r\n"], {}),
    ],
)
def test_a_server_that_takes_ehlo_or_helo_is_ready(
    says: list[bytes], hears: list[bytes], extensions: dict[str, str]
) -> None:
    """Unknown keywords are no obstacle, and keywords are known in any case (section 4.1.1.1)."""
    conversation, heard = Conversation("me"), []
    for line in says:
        conversation.feed(line)
        heard.append(conversation.output())
    assert heard == [*hears, b""]
    event = conversation.next_event()
    assert isinstance(event, Ready)
    assert event.extensions == set(extensions)
    assert conversation.extensions == extensions
    assert event.greeting == conversation.greeting
    assert conversation.phase is Phase.READY


@pytest.mark.parametrize(
    ("says", "last_words", "reason"),
    [
        ([b"554 5.7.1 go away\r\n"], b"QUIT\r\n", "554 5.7.1 go away"),
        ([b"450 busy\r\n"], b"QUIT\r\n", "450 busy"),
        ([b"421 4.3.2 busy\r\n"], b"", "421 4.3.2 busy"),
        ([b"354 what\r\n"], b"", "451 4.5.0 protocol error: no greeting: 354 what"),
        (
            [b"HTTP/1.1 400 Bad Request\r\n"],
            b"",
            "451 4.5.0 protocol error: not a reply: HTTP/1.1 400 Bad Request",
        ),
        ([LOST], b"", "451 4.4.2 lost"),
        ([b"220 mx\r\n", b"421 later\r\n"], b"", "421 later"),
        ([b"220 mx\r\n", b"450 later\r\n"], b"QUIT\r\n", "450 later"),
        ([b"220 mx\r\n", b"354 what\r\n"], b"", "451 4.5.0 protocol error: no reply to EHLO: 354 what"),
        ([b"220 mx\r\n", LOST], b"", "451 4.4.2 lost"),
        ([b"220 mx\r\n", b"500 what\r\n", b"550 go away\r\n"], b"QUIT\r\n", "550 go away"),
        ([b"220 mx\r\n", b"500 what\r\n", LOST], b"", "451 4.4.2 lost"),
        # Replies before the commands that they would answer.
        ([b"220 mx\r\n250 mx\r\n"], b"", "451 4.5.0 protocol error: a reply to nothing: 250 mx"),
        (
            [b"220 mx\r\n", b"250 mx\r\n250 again\r\n"],
            b"",
            "451 4.5.0 protocol error: a reply to nothing: 250 again",
        ),
        ([b"220 mx\r\n", b"250 mx\r\n421 bye\r\n"], b"", "421 bye"),
    ],
)
def test_a_server_that_is_not_ready_ends_the_conversation(
    says: list[Line], last_words: bytes, reason: str
) -> None:
    """The reason is never positive, so that nobody takes it for a delivery; QUIT is said where it is heard."""
    for bytewise in (False, True):
        conversation = Conversation("me")
        events = run(conversation, *says, bytewise=bytewise)
        assert isinstance(events[-1], Over)
        assert str(events[-1].reason) == reason
        assert not events[-1].reason.is_positive
        assert conversation.output() == last_words
        assert conversation.phase is Phase.CLOSED


# The end.


@pytest.mark.parametrize(
    "answer", [b"221 bye\r\n", b"250 ok\r\n", b"500 what\r\n", b"421 bye\r\n", b"what\r\n", LOST]
)
def test_any_answer_to_quit_is_the_end(answer: Line) -> None:
    """Section 4.1.1.10; the reason is not positive, whatever the server says to QUIT."""
    conversation = ready(*EHLO)
    conversation.quit()
    assert (conversation.output(), conversation.phase) == (b"QUIT\r\n", Phase.QUIT)
    (over,) = run(conversation, answer)
    assert isinstance(over, Over)
    assert not over.reason.is_positive
    assert conversation.phase is Phase.CLOSED


def test_quit_is_said_between_transactions_only() -> None:
    """In any other phase it would be taken for something else, or not be heard."""
    conversation = Conversation("me")
    conversation.quit()
    assert (conversation.output(), conversation.phase) == (b"", Phase.GREETING)
    conversation = ready(*EHLO)
    conversation.begin(ORDER)
    conversation.output()
    conversation.quit()
    assert (conversation.output(), conversation.phase) == (b"", Phase.MAIL)


@pytest.mark.parametrize("answer", [b"421 4.4.2 idle too long\r\n", b"250 hello\r\n", b"what\r\n", LOST])
def test_a_server_that_speaks_unasked_is_left(answer: Line) -> None:
    """Section 3.8 allows it 421; after anything else replies and commands are out of step."""
    conversation = ready(*EHLO)
    (over,) = run(conversation, answer)
    assert isinstance(over, Over)
    assert over.reason.is_transient


def test_after_the_end_nothing_happens_any_more() -> None:
    """No event, no output, no exception."""
    conversation = ready(*EHLO)
    run(conversation, LOST)
    assert run(conversation, b"250 ok\r\n", LOST, b"what\r\n") == []
    conversation.quit()
    conversation.content_sent()
    assert (conversation.output(), conversation.phase) == (b"", Phase.CLOSED)


def test_answers_are_counted_and_a_421_is_none() -> None:
    """By the count a connection knows whether the server has answered since it looked last."""
    conversation = Conversation("me")
    counts = []
    for word in (b"220 mx\r\n", b"250-mx\r\n", b"250 PIPELINING\r\n", b"250 ok\r\n550 no\r\n", b"421 bye\r\n"):
        run(conversation, word)
        counts.append(conversation.answers)
        if conversation.phase is Phase.READY:
            conversation.begin(ORDER)
    assert counts == [1, 1, 2, 4, 4]


def test_every_phase_that_waits_has_its_timeout() -> None:
    """Section 4.5.3.2: at least what the RFC asks."""
    assert set(TIMEOUTS) == set(Phase) - {Phase.CLOSED}
    least = {Phase.GREETING: 300, Phase.MAIL: 300, Phase.RCPT: 300, Phase.DATA: 120, Phase.CONTENT: 180}
    assert all(TIMEOUTS[phase] >= seconds for phase, seconds in least.items())
    assert TIMEOUTS[Phase.FINAL] >= 600


# Anything at all.

WORDS = [
    b"220 mx\r\n",
    b"250 ok\r\n",
    b"250-mx\r\n250 PIPELINING\r\n",
    b"250-",
    b"354 go\r\n",
    b"421 bye\r\n",
    b"450 no\r\n",
    b"550 no\r\n",
    b"what\r\n",
    b"\r\n",
    LOST,
]


@given(st.lists(st.sampled_from(WORDS), max_size=20))
def test_whatever_a_server_says_nothing_is_delivered_without_its_final_250(words: list[Line]) -> None:
    """And nobody is in doubt whose final dot has not gone; nothing raises."""
    conversation = Conversation("me")
    dot_sent = False
    for word in words:
        conversation.output()
        was_final = conversation.phase is Phase.FINAL
        if isinstance(word, str):
            conversation.lose(LOSS)
        else:
            conversation.feed(word)
        for event in iter(conversation.next_event, None):
            match event:
                case Ready():
                    pass
                case SendContent():
                    conversation.content_sent()
                    dot_sent = True
                case Over():
                    assert not event.reason.is_positive
                    assert conversation.phase is Phase.CLOSED
                case Finished():
                    accepted = [each.code // 100 for each in event.result.replies if each.is_positive]
                    assert set(accepted) <= {2}
                    assert not accepted or (dot_sent and was_final and isinstance(word, bytes))
                    assert not event.result.in_doubt or (dot_sent and conversation.phase is Phase.CLOSED)
                    assert not (accepted and event.result.in_doubt)
                    dot_sent = False
        if conversation.phase is Phase.READY:
            conversation.begin(ORDER)
