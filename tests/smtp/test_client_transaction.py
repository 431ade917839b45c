"""A transaction of the conversation machine: each forward-path gets its own reply, whatever the server does."""

import pytest

from relayd.smtp.client import Finished, Order, Over, Phase, SendContent
from tests.smtp.script import EHLO, LOST, ORDER, PIPELINING, Case, Line, ready, run

COMMON = {
    "accepted": Case("250 250 250 354 DOT 250", [250, 250]),
    "a long final reply": Case("250 250 250 354 DOT long-250", [250, 250]),
    "one refused": Case("250 550 250 354 DOT 250", [550, 250]),
    "one forwarded, one unknown": Case("250 251 252 354 DOT 250", [250, 250]),
    "codes by their first digit": Case("299 299 499 399 DOT 299", [299, 499]),
    "refused for now at the final dot": Case("250 250 550 354 DOT 451", [451, 550]),
    "refused for good at the final dot": Case("250 250 450 354 DOT 554", [554, 450]),
    "421 at the final dot": Case("250 250 250 354 DOT 421", [421, 421], Phase.CLOSED),
    "421 after the final reply": Case("250 250 250 354 DOT 250+421", [250, 250], Phase.CLOSED),
    "a second final reply": Case("250 250 250 354 DOT 250+250", [250, 250], Phase.CLOSED),
    "lost after the final reply": Case("250 250 250 354 DOT 250 LOST", [250, 250], Phase.CLOSED),
    "lost after the final dot": Case("250 250 250 354 DOT LOST", [451, 451], Phase.CLOSED, {0, 1}),
    "lost in the final reply": Case("250 250 550 354 DOT half-250 LOST", [451, 550], Phase.CLOSED, {0}),
    "nonsense after the final dot": Case("250 550 250 354 DOT what", [550, 451], Phase.CLOSED, {1}),
    "354 after the final dot": Case("250 250 250 354 DOT 354", [451, 451], Phase.CLOSED, {0, 1}),
    "lost in the mail data": Case("250 550 250 354 LOST", [550, 451], Phase.CLOSED),
    "421 in the mail data": Case("250 250 550 354 421", [421, 550], Phase.CLOSED),
    "refused in the mail data": Case("250 250 450 354 552", [552, 450], Phase.CLOSED),
    "accepted before its end": Case("250 250 250 354 250", [451, 451], Phase.CLOSED),
    "354 twice": Case("250 250 250 354 354", [451, 451], Phase.CLOSED),
    "DATA refused for now": Case("250 250 550 451 250", [451, 550]),
    "DATA refused for good": Case("250 250 450 554 250", [554, 450]),
    "421 to DATA": Case("250 250 550 421", [421, 550], Phase.CLOSED),
    "250 to DATA": Case("250 250 550 250", [451, 550], Phase.CLOSED),
    "lost at DATA": Case("250 250 550 LOST", [451, 550], Phase.CLOSED),
    "421 to the second RCPT": Case("250 550 421", [550, 421], Phase.CLOSED),
    "354 to RCPT": Case("250 354", [451, 451], Phase.CLOSED),
    "lost at the second RCPT": Case("250 550 LOST", [550, 451], Phase.CLOSED),
    "nonsense to RCPT": Case("250 250 what", [451, 451], Phase.CLOSED),
    "421 to MAIL": Case("421", [421, 421], Phase.CLOSED),
    "354 to MAIL": Case("354", [451, 451], Phase.CLOSED),
    "lost at MAIL": Case("LOST", [451, 451], Phase.CLOSED),
    "a reply that never ends": Case("endless", [451, 451], Phase.CLOSED),
}

STEP_BY_STEP = {
    "MAIL refused": Case("550 250", [550, 550]),
    "MAIL refused, RSET waits": Case("450", [450, 450], Phase.RESET),
    "all refused": Case("250 550 450 250", [550, 450]),
    "two replies to MAIL": Case("250+250", [451, 451], Phase.CLOSED),
    "RSET refused": Case("550 502", [550, 550], Phase.CLOSED),
}

PIPELINED = {
    "all in one": Case("250+250+550+354 DOT 250", [250, 550]),
    "MAIL refused": Case("450+503+503+503 250", [450, 450]),
    "all refused": Case("250 550 450 554 250", [550, 450]),
    # RFC 2920 section 3.1: the client ends the message that nobody receives.
    "all refused, 354 all the same": Case("250+550+450+354 554", [550, 450]),
    "all refused, the empty message taken": Case("250+550+450+354 250", [550, 450]),
    "all refused, 421 to the empty message": Case("250+550+450+354 421", [550, 450], Phase.CLOSED),
    "all refused, lost after the empty message": Case("250+550+450+354 LOST", [550, 450], Phase.CLOSED),
    "MAIL refused, 354 all the same": Case("550+503+503+354 250", [550, 550]),
    "MAIL refused, RCPT taken, 354": Case("550+250+250+354", [550, 550], Phase.CLOSED),
    "354, and accepted already": Case("250+250+250+354+250", [451, 451], Phase.CLOSED),
    "354, and 421 behind it": Case("250+250+250+354+421", [421, 421], Phase.CLOSED),
    "lost with refusals said": Case("550+503 LOST", [550, 550], Phase.CLOSED),
}

CASES = [
    *((name, case, EHLO) for name, case in (COMMON | STEP_BY_STEP).items()),
    *((name, case, PIPELINING) for name, case in (COMMON | PIPELINED).items()),
]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    ("case", "greeting"),
    [(case, greeting) for _, case, greeting in CASES],
    ids=[f"{'pipelined' if greeting is PIPELINING else 'one by one'}: {name}" for name, _, greeting in CASES],
)
def test_each_forward_path_gets_what_the_server_said_of_it(
    case: Case, greeting: tuple[bytes, ...], bytewise: bool
) -> None:
    """In doubt is only who stood when the connection ended between the final dot and a reply to it."""
    conversation = ready(*greeting)
    conversation.begin(ORDER)
    events = run(conversation, *case.script, bytewise=bytewise)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert [each.code for each in finished.result.replies] == case.codes
    assert finished.result.in_doubt == case.doubt
    assert conversation.phase is case.phase
    assert conversation.phase is not Phase.CLOSED or conversation.output() == b""


def test_commands_go_one_by_one_without_pipelining() -> None:
    """Each waits for the reply to the one before it (section 4.3.1), and DATA for a recipient."""
    conversation = ready(*EHLO)
    conversation.begin(ORDER)
    heard = []
    for line in (b"250 ok\r\n", b"550 no\r\n", b"250 ok\r\n", b"354 go\r\n"):
        heard.append(conversation.output())
        conversation.feed(line)
    assert heard == [b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<b@c>\r\n", b"RCPT TO:<d@e>\r\n", b"DATA\r\n"]
    assert conversation.output() == b""
    assert conversation.next_event() == SendContent()
    assert conversation.phase is Phase.CONTENT


def test_all_commands_go_in_one_write_with_pipelining() -> None:
    """RFC 2920; DATA is the last of the group."""
    conversation = ready(*PIPELINING)
    conversation.begin(ORDER)
    assert conversation.output() == b"MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nRCPT TO:<d@e>\r\nDATA\r\n"


def test_an_empty_message_ends_data_that_nobody_wanted() -> None:
    """RFC 2920 section 3.1: a single dot, when the server says 354 although it has refused every recipient."""
    conversation = ready(*PIPELINING)
    conversation.begin(ORDER)
    run(conversation, b"250 ok\r\n550 no\r\n450 no\r\n354 go\r\n")
    assert conversation.output() == b".\r\n"
    assert conversation.phase is Phase.FINAL


def test_rset_goes_before_the_next_transaction_when_mail_data_did_not() -> None:
    """MAIL may stand at the server, and a second one would be nested (section 4.1.4)."""
    conversation = ready(*EHLO)
    conversation.begin(ORDER)
    run(conversation, b"250 ok\r\n", b"550 no\r\n", b"550 no\r\n")
    assert conversation.output() == b"RSET\r\n"
    assert conversation.phase is Phase.RESET
    assert run(conversation, b"250 ok\r\n") == []
    conversation.begin(ORDER)
    assert conversation.output() == b"MAIL FROM:<a@b>\r\n"


@pytest.mark.parametrize("answer", [b"421 bye\r\n", b"500 what\r\n", b"354 go\r\n", b"what\r\n", LOST])
def test_a_conversation_whose_rset_fails_is_over(answer: Line) -> None:
    """Nobody knows what the server would do with the next MAIL."""
    conversation = ready(*EHLO)
    conversation.begin(ORDER)
    (finished, over) = run(conversation, b"550 no\r\n", answer)
    assert isinstance(finished, Finished)
    assert isinstance(over, Over)
    assert not over.reason.is_positive


def test_a_354_taken_back_asks_for_no_mail_data() -> None:
    """What was not heard of yet must not be acted on: the final dot would deliver a message that has failed."""
    conversation = ready(*PIPELINING)
    conversation.begin(ORDER)
    (event,) = run(conversation, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n421 bye\r\n")
    assert isinstance(event, Finished)
    conversation.content_sent()
    assert conversation.phase is Phase.CLOSED


def test_parameters_go_only_to_servers_that_offer_them() -> None:
    """Section 4.1.1.2: SIZE (RFC 1870) and BODY (RFC 6152)."""
    order = Order("", ("b@c",), size=123, body="8BITMIME")
    conversation = ready(b"220 mx\r\n", b"250-mx\r\n250-SIZE 10\r\n250 8bitmime\r\n")
    conversation.begin(order)
    assert conversation.output() == b"MAIL FROM:<> SIZE=123 BODY=8BITMIME\r\n"
    conversation = ready(b"220 mx\r\n", b"250-mx\r\n250 SIZEABLE\r\n")
    conversation.begin(order)
    assert conversation.output() == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize("path", ["a@b>\r\nRCPT TO:<x@y", "a\n@b", "a\0@b", "a\u2028@b", "a\x85@b", "a\ud800@b"])
def test_an_order_that_would_break_out_of_its_line_is_none(path: str) -> None:
    """Whatever an envelope holds, no command can be smuggled into the dialogue with it."""
    with pytest.raises(ValueError, match="not a path"):
        Order("a@b", ("c@d", path))
    with pytest.raises(ValueError, match="not a path"):
        Order(path, ("c@d",))
