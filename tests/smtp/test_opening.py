"""An opening: what a server may say before MAIL, in any order and cut anyhow, with TLS and credentials in play."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.client import Conversation, Over, Phase, Ready, Terms
from relayd.smtp.credentials import Credentials
from relayd.smtp.reply import reply
from relayd.smtp.transcript import Transcript

CREDENTIALS = Credentials("relay", "tr0ub4dor")
SECRETS = (CREDENTIALS.password, CREDENTIALS.plain, CREDENTIALS.login[1])
OFFERING = b"220 mx\r\n", b"250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"


def opened(*said: bytes, terms: Terms | None = None) -> Conversation:
    """A conversation that has heard this, a write after each of ours."""
    conversation = Conversation("relay.test", Transcript(), terms or Terms("opportunistic"))
    for octets in said:
        conversation.output()
        conversation.feed(octets)
    conversation.output()
    return conversation


@pytest.mark.parametrize(
    "behind",
    [b"2", b"\n", b"250 x\r\n", b"250 x\r\n250 y\r\n", b"421 x\r\n", b"220-x\r\n", b"\x16\x03\x01"],
)
def test_not_an_octet_may_stand_behind_the_220(behind: bytes) -> None:
    """A part of a line is as bad as a whole one (CVE-2021-38371 and its like)."""
    conversation = opened(*OFFERING, b"220 go\r\n" + behind)
    assert conversation.phase is Phase.CLOSED
    assert conversation.has_failed_tls
    over = conversation.next_event()
    assert isinstance(over, Over)
    assert over.reason.status == "4.7.5"


def test_a_220_that_nobody_has_asked_for_begins_no_tls() -> None:
    """It came with the answer to EHLO, before STARTTLS was said."""
    conversation = opened(OFFERING[0], OFFERING[1] + b"220 go\r\n")
    assert conversation.phase is Phase.CLOSED
    assert conversation.has_failed_tls


def test_octets_in_the_clear_are_not_heard_while_hands_are_shaken() -> None:
    """Whoever carries the connection might give us some."""
    conversation = opened(*OFFERING, b"220 go\r\n")
    conversation.feed(b"250 mx\r\n")
    assert conversation.phase is Phase.CLOSED
    assert conversation.has_failed_tls


def test_what_was_offered_in_the_clear_is_forgotten_before_anything_is_said_in_tls() -> None:
    """RFC 3207 section 4.2."""
    conversation = opened(*OFFERING, b"220 go\r\n")
    assert "PIPELINING" in conversation.extensions
    conversation.secured("TLSv1.3")
    assert (conversation.is_secured, conversation.extensions) == (True, {})
    assert conversation.output() == b"EHLO relay.test\r\n"
    conversation.feed(b"250 mx\r\n")
    event = conversation.next_event()
    assert isinstance(event, Ready)
    assert event.extensions == frozenset()


@pytest.mark.parametrize(
    ("said", "has_failed"),
    [
        ((), False),
        (OFFERING[:1], False),
        (OFFERING, True),
        ((*OFFERING, b"220 go\r\n"), True),
        ((OFFERING[0], b"250 mx\r\n"), False),
    ],
)
def test_a_connection_lost_where_tls_was_due_is_a_failure_of_tls(
    said: tuple[bytes, ...], has_failed: bool
) -> None:
    """And before STARTTLS it is none."""
    conversation = opened(*said)
    conversation.lose(reply(451, "4.4.2", "lost"))
    assert conversation.has_failed_tls is has_failed


@pytest.mark.parametrize(
    ("answer", "has_failed"),
    [
        (b"", True),
        (b"450 busy\r\n", False),
        (b"421 busy\r\n", False),
        (b"250-m", False),
        (b"what\r\n", False),
        (b"250 mx\r\n", False),
    ],
)
def test_a_server_may_refuse_us_in_tls_1_3_when_we_are_done(answer: bytes, has_failed: bool) -> None:
    """It goes without an answer to EHLO; one that answers has come to TLS."""
    conversation = opened(*OFFERING, b"220 go\r\n")
    conversation.secured("TLSv1.3")
    conversation.output()
    conversation.feed(answer)
    conversation.lose(reply(451, "4.4.2", "lost"))
    assert conversation.has_failed_tls is has_failed


@pytest.mark.parametrize(
    ("greeting", "said"), [(b"220 mx\r\n", b"QUIT\r\n"), (b"554 no\r\n", b"QUIT\r\n"), (b"421 no\r\n", b"")]
)
def test_who_leaves_before_the_greeting_waits_for_it(greeting: bytes, said: bytes) -> None:
    """Section 3.1; and does not begin a session to end it."""
    conversation = opened()
    conversation.quit()
    assert conversation.output() == b""
    conversation.feed(greeting)
    assert conversation.output() == said


def test_who_leaves_when_the_greeting_has_just_come_is_told_so_too() -> None:
    """The answer to EHLO is heard first; no TLS is begun to end it."""
    conversation = opened(OFFERING[0])
    assert conversation.phase is Phase.HELLO
    conversation.quit()
    conversation.feed(OFFERING[1])
    assert (conversation.output(), conversation.phase) == (b"QUIT\r\n", Phase.QUIT)


@pytest.mark.parametrize("said", [CREDENTIALS.plain[:9], CREDENTIALS.plain[5:], CREDENTIALS.plain.upper()])
def test_not_even_a_part_of_the_credentials_is_told(said: str) -> None:
    """Servers cut a line short that they repeat, or wrap it, or put it into capital letters."""
    answer = CREDENTIALS.masked(reply(500, None, f'unrecognized: "AUTH PLAIN {said}', f"{said} is unknown"))
    assert answer.lines == ('unrecognized: "AUTH PLAIN [credentials]', "[credentials] is unknown")


def test_credentials_are_shown_nowhere() -> None:
    """Neither in a repr nor in that of the terms."""
    assert all(secret not in repr(Terms("require", CREDENTIALS)) for secret in SECRETS)


LINES = [
    b"220 mx\r\n",
    b"250 mx\r\n",
    b"250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n",
    b"250-mx\r\n250 AUTH LOGIN\r\n",
    b"334 \r\n",
    b"235 ok\r\n",
    b"535 no\r\n",
    b"454 not now\r\n",
    b"421 bye\r\n",
    b"354 go\r\n",
    b"what\r\n",
    *(b"501 what is %s\r\n" % secret.encode() for secret in SECRETS),
    *(b"%s\r\n" % secret.encode() for secret in SECRETS),
]


@given(
    st.lists(st.sampled_from(LINES) | st.binary(max_size=20), max_size=12),
    st.sampled_from(["off", "opportunistic", "require"]),
    st.booleans(),
)
def test_whatever_a_server_says_ends_in_ready_or_over(said: list[bytes], tls: str, in_clear: bool) -> None:
    """Nothing raises, credentials go only where they may, and what is told of it has no secret in it."""
    transcript = Transcript()
    conversation = Conversation("relay.test", transcript, Terms(tls, CREDENTIALS, in_clear))  # type: ignore[arg-type]
    ours = [conversation.output()]
    for octets in said:
        if conversation.phase is Phase.TLS:
            conversation.secured("TLSv1.3")
        else:
            conversation.feed(octets)
        if conversation.phase is Phase.AUTH:
            assert conversation.is_secured or in_clear
        ours.append(conversation.output())
    event = conversation.next_event()
    assert (event is None) == (conversation.phase not in (Phase.READY, Phase.CLOSED))
    told = "\n".join(transcript.lines()) + (str(event.reason) if isinstance(event, Over) else "")
    assert not any(secret in told for secret in SECRETS)
    assert b"AUTH" in b"".join(ours) or not any(secret.encode() in b"".join(ours) for secret in SECRETS)
