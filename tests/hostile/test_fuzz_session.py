"""The session machine against a client that tries everything: what a stateful fuzzer finds is nothing."""

import base64

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from relayd.smtp.event import StartTls
from relayd.smtp.facts import Facts, State
from tests.hostile.machine import cut
from tests.hostile.session_fuzz import LATER, NEVER, OK, PASSWORD, Fuzzed

PLAIN = base64.b64encode(f"\0user\0{PASSWORD}".encode())
USER, SECRET = base64.b64encode(b"user"), base64.b64encode(PASSWORD.encode())
COMMANDS = [
    b"HELO c\r\n",
    b"EHLO c\r\n",
    b"EHLO [127.0.0.1]\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<a@b> SIZE=99999\r\n",
    b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By\r\n",
    "MAIL FROM:<ü@bücher.example> SMTPUTF8\r\n".encode(),
    b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
    b"MAIL FROM:<a@b> AUTH=<>\r\n",
    b"MAIL FROM:<a@b> ENVID=x+0D+0A\r\n",
    b"MAIL FROM:<root>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<cron>\r\n",
    b"RCPT TO:<c@d> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c@d\r\n",
    b"RCPT TO:<c@d> ORCPT=rfc822;x+0D+0A\r\n",
    b"RCPT TO:<c@d> NOTIFY=NEVER,DELAY\r\n",
    "RCPT TO:<ü@d>\r\n".encode(),
    b"RCPT TO:<" + b"x" * 600 + b"@d>\r\n",
    b"DATA\r\n",
    b"DATA x\r\n",
    b"RSET\r\n",
    b"RSET x\r\n",
    b"VRFY a\r\n",
    b"EXPN a\r\n",
    b"HELP\r\n",
    b"NOOP\r\n",
    b"STARTTLS\r\n",
    b"STARTTLS now\r\n",
    b"AUTH PLAIN " + PLAIN + b"\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH LOGIN " + USER + b"\r\n",
    b"AUTH CRAM-MD5\r\n",
    b"AUTH\r\n",
    PLAIN + b"\r\n",
    USER + b"\r\n",
    SECRET + b"\r\n",
    b"*\r\n",
    b"=\r\n",
    b"FOO\r\n",
    b"\r\n",
]
PRIVATE = [
    [b"STARTTLS\r\n"],
    [b"AUTH PLAIN " + PLAIN + b"\r\n"],
    [b"AUTH PLAIN\r\n", PLAIN + b"\r\n"],
    [b"AUTH LOGIN\r\n", USER + b"\r\n", SECRET + b"\r\n"],
]
LAST_WORDS = [b"QUIT\r\n", b"QUIT x\r\n", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n"]
FRAGMENTS = [
    b"\r",
    b"\n",
    b".",
    b"\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b"\n.\n",
    b"\0",
    b"\xff",
    b"\xc3\xbc",
    b"x" * 600,
    b"x" * 13_000,
    b"a: b\r\n",
    b"Received: x\r\n" * 101,
    b"BDAT ",
    b"99",
    b" LAST\r\n",
]
CHUNK_SIZES = [b"0", b"1", b"5", b"007", b"1001", b"99999999999999999999", b"-1", b"x", b""]
BODIES = [
    b"",
    b"x",
    b"a\r\n",
    b"\r",
    b"\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\0",
    b"Subject: x\r\n\r\ny\r\n",
    b"x" * 1100,
]
WAYS = ["data", "data", "chunks", "chunks", "nothing"]
SETTINGS = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

facts = st.builds(
    Facts,
    hostname=st.just("relay.example.org"),
    version=st.just("1"),
    client_port=st.just(1025),
    extended=st.sampled_from([True, True, True, False]),
    maximum_message=st.just(1000),
    maximum_recipients=st.just(3),
    normalize=st.booleans(),
    trusted=st.booleans(),
    origin=st.sampled_from([None, "origin.example"]),
    starttls=st.booleans(),
    secure=st.booleans(),
    auth=st.sampled_from(["off", "offered", "offered", "required"]),
    auth_in_clear=st.booleans(),
)
places = st.lists(st.integers(0, 1500), max_size=4)
codes = st.sampled_from([OK, OK, OK, OK, OK, LATER, NEVER])


class Fuzz(RuleBasedStateMachine):
    """The client and whoever serves it, in any order."""

    @initialize(facts=facts)
    def connect(self, facts: Facts) -> None:
        """A session of any kind."""
        self.facts = msgspec.structs.replace(facts, secure=facts.secure and not facts.starttls)
        self.hand = Fuzzed(self.facts)

    def says(self, writes: list[bytes]) -> None:
        """The client speaks; where the last word was said, it has come again."""
        if self.hand.session.state is State.CLOSED:
            self.hand = Fuzzed(self.facts)
        self.hand.says(writes)

    @rule(words=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=4), places=places)
    def commands(self, words: list[bytes], places: list[int]) -> None:
        """Commands, pipelined and cut anywhere."""
        self.says(cut(b"".join(words), places))

    @rule(words=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4), places=places)
    def fragments(self, words: list[bytes], places: list[int]) -> None:
        """What is no command."""
        self.says(cut(b"".join(words), places))

    @rule(octets=st.binary(max_size=40))
    def noise(self, octets: bytes) -> None:
        """Anything."""
        self.says([octets])

    @rule(word=st.sampled_from(LAST_WORDS))
    @precondition(lambda self: len(self.hand.replies) > 2000)
    def last_words(self, word: bytes) -> None:
        """What ends a session, once it has gone on for a while."""
        self.says([word])

    @rule(size=st.sampled_from(CHUNK_SIZES), last=st.booleans(), body=st.sampled_from(BODIES), places=places)
    def chunk(self, size: bytes, last: bool, body: bytes, places: list[int]) -> None:
        """BDAT, whose octets may be fewer or more than it says."""
        self.says(cut(b"BDAT " + size + (b" LAST" if last else b"") + b"\r\n" + body, places))

    @rule(body=st.sampled_from(BODIES), last=st.booleans(), places=places)
    def honest_chunk(self, body: bytes, last: bool, places: list[int]) -> None:
        """BDAT as it should be."""
        self.says(cut(b"BDAT %d%s\r\n%s" % (len(body), b" LAST" if last else b"", body), places))

    @rule(steps=st.integers(2, 4), bodies=st.lists(st.sampled_from(BODIES), max_size=3), how=st.sampled_from(WAYS))
    def transaction(self, steps: int, bodies: list[bytes], how: str) -> None:
        """The beginning of a transaction or all of it, with good verdicts, so that each state is reached often."""
        words = [b"RSET\r\n", b"EHLO c\r\n" if self.hand.facts.extended else b"HELO c\r\n"]
        words += [b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"][: steps - 1]
        if how == "chunks":
            words += [b"BDAT %d\r\n%s" % (len(body), body) for body in bodies]
        elif how == "data":
            words += [b"DATA\r\n", *filter(None, bodies), b"\r\n.\r\n"]
        for word in words:
            self.says([word])
            self._agree()

    @precondition(lambda self: self.hand.owed is None)
    @rule(words=st.sampled_from(PRIVATE), code=codes, behind=st.sampled_from([b"", b"", b"NOOP\r\n", b"*\r\n"]))
    def private(self, words: list[bytes], code: int, behind: bytes) -> None:
        """TLS or a user, outside of any transaction, where they are offered; something may stand behind it."""
        self.says([b"RSET\r\n", b"EHLO c\r\n", *words[:-1], words[-1] + behind])
        if self.hand.owed is not None:
            self.hand.answers(code)
        if self.hand.session.state is State.TLS and behind == b"":
            self.hand.secures()

    @precondition(lambda self: self.hand.owed is not None)
    @rule(code=codes)
    def verdict(self, code: int) -> None:
        """What is owed, good or bad; the next event may come with it."""
        self.hand.answers(code)

    @precondition(lambda self: self.hand.owed is not None)
    @rule()
    def agrees(self) -> None:
        """Every verdict that is owed is good, up to ten in a row."""
        self._agree()

    def _agree(self) -> None:
        for _ in range(10):
            if self.hand.owed is None or isinstance(self.hand.owed, StartTls):
                return
            self.hand.answers(OK)

    @precondition(lambda self: self.hand.session.state is State.TLS and self.hand.owed is None)
    @rule()
    def handshake(self) -> None:
        """TLS is there."""
        self.hand.secures()

    @rule(how=st.sampled_from(["time_out", "shut_down"]))
    @precondition(lambda self: len(self.hand.replies) > 3000)
    def end(self, how: str) -> None:
        """The service ends it."""
        getattr(self.hand.session, how)()
        self.hand.look()


Fuzz.TestCase.settings = SETTINGS
TestFuzz = Fuzz.TestCase


@pytest.mark.long
def test_nothing_is_found_in_a_longer_search() -> None:
    """The same, several times as many and longer."""
    run_state_machine_as_test(Fuzz, settings=settings(SETTINGS, max_examples=700, stateful_step_count=50))
