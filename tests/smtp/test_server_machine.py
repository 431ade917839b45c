"""The session machine under any order of input, verdicts and closes: what always holds."""

import re
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.patience import MAXIMUM_ERRORS
from relayd.smtp.reply import reply
from relayd.smtp.server import (
    Abandoned,
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

COMMANDS = [
    b"HELO c\r\n",
    b"EHLO c\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<> SIZE=99999\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<c>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\na\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 3 LAST\r\nb\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH LOGIN\r\n",
    b"YQ==\r\n",
    b"*\r\n",
    b"RSET\r\n",
    b"VRFY a\r\n",
    b"HELP\r\n",
    b"NOOP\r\n",
    b"FOO\r\n",
]
FRAGMENTS = [
    b"\r",
    b"\n",
    b".",
    b"\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b"\0",
    b"\xff",
    b"x" * 600,
    b"QUIT\r\n",
    b"a: b\r\n",
]
TRANSACTION = [
    b"RSET\r\n",
    b"HELO c\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n",
]
CHUNKS = [
    b"BDAT 3\r\na\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 3 LAST\r\nb\r\n",
    b"BDAT 2\r\n\ra",
    b"RSET\r\n",
    b"BDAT 999 LAST\r\n",
]
OPENINGS = [
    [b"EHLO c\r\n", b"STARTTLS\r\n"],
    [b"EHLO c\r\n", b"AUTH PLAIN AGEAYg==\r\n"],
    [b"EHLO c\r\n", b"AUTH LOGIN\r\n", b"YQ==\r\n", b"YQ==\r\n"],
]
LINE = re.compile(rb"([245][0-9]{2}|354|334)[ -][\x20-\x7e]*\r\n")
IN_TRANSACTION = {State.MAIL, State.RCPT, State.DATA, State.CHUNKS}
Auths = Literal["off", "offered", "required"]
AUTH: list[Auths] = ["off", "offered", "offered", "required"]
# Whether bare LF is mended, whether there are extensions, whether the client is polite, and AUTH.
Client = tuple[bool, bool, bool, Auths]
CLIENTS = st.tuples(
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from(AUTH),
)
CODES = st.lists(st.sampled_from([250] * 12 + [451, 550]), max_size=8)


class Machine(RuleBasedStateMachine):
    """Feeds, asks, answers and closes as it comes, and looks after each step."""

    @initialize(client=CLIENTS)
    def connect(self, client: Client) -> None:
        """A session with small limits; a polite client waits for the replies to DATA and STARTTLS."""
        normalize, extended, polite, auth = client
        facts = Facts(
            "h.example",
            "1",
            1,
            extended,
            maximum_message=1000,
            maximum_recipients=3,
            normalize=normalize,
            trusted=True,
            starttls=True,
            auth=auth,
            auth_in_clear=True,
        )
        self.session = Session(facts)
        self.polite = polite
        self.unsaid: list[bytes] = []
        self.begun = False
        self.owed: Event | None = None
        self.accepted = 0
        self.errors = 0
        self.is_over = False
        self.look()

    @precondition(lambda self: self.is_over)
    @rule(client=CLIENTS)
    def connect_again(self, client: Client) -> None:
        """Enough was heard of the session that is over."""
        self.connect(client)

    @rule(writes=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=4))
    def commands(self, writes: list[bytes]) -> None:
        """The client speaks."""
        self.hear(*writes)

    @rule(writes=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4))
    def fragments(self, writes: list[bytes]) -> None:
        """The client speaks badly."""
        self.hear(b"".join(writes))

    @rule(
        end=st.integers(3, len(TRANSACTION)),
        inside=st.lists(st.sampled_from(FRAGMENTS), max_size=3),
        codes=CODES,
    )
    def transaction(self, end: int, inside: list[bytes], codes: list[int]) -> None:
        """The beginning of a transaction, or all of it, so that each state is reached often."""
        self.hear(*TRANSACTION[:end], *inside, b"\r\n.\r\n" if end == len(TRANSACTION) else b"")
        self.verdicts(codes)

    @rule(opening=st.sampled_from(OPENINGS), end=st.integers(1, 4), codes=CODES)
    def opening(self, opening: list[bytes], end: int, codes: list[int]) -> None:
        """TLS, or a user's name and password, in whole or in part."""
        self.hear(b"RSET\r\n", *opening[:end])
        self.verdicts(codes)

    @rule(chunks=st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=4), codes=CODES)
    def chunks(self, chunks: list[bytes], codes: list[int]) -> None:
        """The same by BDAT, in order or not."""
        self.hear(*TRANSACTION[:4], *chunks)
        self.verdicts(codes)

    @precondition(lambda self: self.session.state is State.TLS)
    @rule()
    def handshake(self) -> None:
        """TLS begins."""
        self.session.secure()
        assert (self.session.state, self.session.user, self.session.backlog) == (State.START, "", 0)
        self.read()

    @precondition(lambda self: self.owed is not None)
    @rule(codes=CODES)
    def answers(self, codes: list[int]) -> None:
        """Verdicts that come later than what was pipelined."""
        self.verdicts(codes)

    def verdicts(self, codes: list[int]) -> None:
        """Verdicts come, early enough or too late; each may let the next event out."""
        for code in codes:
            if self.owed is None:
                return
            event, self.owed = self.owed, None
            if isinstance(event, Data) and code != 250:
                self.begun = False
            if isinstance(event, EndOfData):
                if event.fault is None and code == 250 and self.session.state is not State.CLOSED:
                    self.accepted += 1
                self.session.answer(reply(code, None, "final"))
            else:
                self.session.answer(None if code == 250 else reply(code, None, "no"))
            self.look()
            self.read()
            self.hear()

    @rule(dice=st.integers(0, 20))
    def close(self, dice: int) -> None:
        """The session ends, now and then; while TLS begins, without a word."""
        self.is_over = self.session.state is State.CLOSED or (self.session.state is State.TLS and dice < 2)
        match dice:
            case 0:
                self.session.time_out()
            case 1:
                self.session.shut_down()
            case 2:
                self.hear(b"QUIT\r\n")

    def hear(self, *writes: bytes) -> None:
        """As the connection does: feed, and read as far as verdicts allow."""
        if not self.polite:
            self.session.feed(b"".join(writes))
            self.read()
            return
        self.unsaid += writes
        while self.unsaid and not isinstance(self.owed, Data | StartTls):
            self.session.feed(self.unsaid.pop(0))
            self.read()

    def read(self) -> None:
        """Ask for events until a verdict is owed or input runs out."""
        while (event := self.session.next_event()) is not None:
            assert self.owed is None, "an event while a verdict is owed"
            assert self.session.state is not State.CLOSED
            if isinstance(event, Content | Abandoned):
                assert self.begun, "mail data that nobody has announced"
                self.begun = isinstance(event, Content)
                continue
            self.owed = event
            self.check(event)
            # What came before the event is said; the event itself is not answered.
            self.look()

    def check(self, event: Event) -> None:
        """Each event comes in its place in a transaction."""
        transaction = self.session.transaction
        match event:
            case Mail():
                assert transaction is None
            case Rcpt():
                assert transaction is not None
                assert len(transaction.recipients) < 3
            case StartTls() | Auth():
                assert transaction is None
            case _:
                assert transaction is not None
                assert transaction.recipients
                assert isinstance(event, Data) != self.begun, "mail data has one beginning and one end"
                self.begun = isinstance(event, Data)
        if isinstance(event, EndOfData):
            assert event.size <= 1000

    def look(self) -> bytes:
        """Take the output, and check each line of it."""
        output = self.session.output()
        assert not (output and self.is_over), "a reply after the last one"
        lines = re.findall(rb".*?\r\n", output, re.DOTALL)
        assert b"".join(lines) == output, "a reply that is no whole line"
        for line in lines:
            assert LINE.fullmatch(line), line
            self.errors += line.startswith(b"5")
            self.is_over = self.session.state is State.CLOSED and line == bytes(self.session.last_word or b"")
        self.accepted -= lines.count(b"250 final\r\n")
        assert self.accepted >= 0, "a 250 to a final dot without a verdict"
        return output

    @invariant()
    def replies_are_whole_lines_and_each_has_its_reason(self) -> None:
        """While a verdict is owed nothing is said; every 250 to a final dot was given by a verdict."""
        output = self.look()
        assert (self.session.pending is not None) == (
            self.owed is not None and self.session.state is not State.CLOSED
        )
        if self.owed is not None and self.session.state is not State.CLOSED:
            assert output == b""
        assert self.accepted == 0, "a verdict of 250 that was not said"
        # What a session is hung up with is no error among others.
        assert self.errors <= MAXIMUM_ERRORS + self.is_over
        assert self.is_over == (self.session.state is State.CLOSED)

    @invariant()
    def the_state_and_the_transaction_agree(self) -> None:
        """A transaction is there in its states and in no other; it has a recipient before mail data."""
        transaction = self.session.transaction
        assert (transaction is not None) == (self.session.state in IN_TRANSACTION)
        if transaction is not None:
            has_recipient = self.session.state in (State.RCPT, State.DATA, State.CHUNKS)
            assert bool(transaction.recipients) == has_recipient
            assert len(transaction.recipients) <= 3
        if self.session.state is State.CLOSED:
            assert self.session.pending is None
            assert self.session.backlog == 0


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
