"""The session machine under any order of input, verdicts and closes: what always holds."""

import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.reply import reply
from relayd.smtp.server import MAXIMUM_ERRORS, Content, EndOfData, Event, Facts, Session, State

COMMANDS = [
    b"HELO c\r\n",
    b"EHLO c\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<> SIZE=99999\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<c>\r\n",
    b"DATA\r\n",
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
LINE = re.compile(rb"([245][0-9]{2}|354)[ -][\x20-\x7e]*\r\n")
IN_TRANSACTION = {State.MAIL, State.RCPT, State.DATA}


class Machine(RuleBasedStateMachine):
    """Feeds, asks, answers and closes as it comes, and looks after each step."""

    @initialize(normalize=st.booleans(), extended=st.booleans())
    def connect(self, normalize: bool, extended: bool) -> None:
        """A session with small limits."""
        facts = Facts(
            "h.example", "1", 1, extended, maximum_message=1000, maximum_recipients=3, normalize=normalize
        )
        self.session = Session(facts)
        self.owed: Event | None = None
        self.accepted = 0
        self.errors = 0
        self.is_over = False
        self.look()

    @rule(writes=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=4))
    def commands(self, writes: list[bytes]) -> None:
        """The client speaks."""
        self.hear(b"".join(writes))

    @rule(writes=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4))
    def fragments(self, writes: list[bytes]) -> None:
        """The client speaks badly."""
        self.hear(b"".join(writes))

    @rule(end=st.integers(1, len(TRANSACTION)), inside=st.lists(st.sampled_from(FRAGMENTS), max_size=3))
    def transaction(self, end: int, inside: list[bytes]) -> None:
        """The beginning of a transaction, or all of it, so that each state is reached often."""
        self.hear(b"".join([*TRANSACTION[:end], *inside, b"\r\n.\r\n" if end == len(TRANSACTION) else b""]))

    @precondition(lambda self: self.owed is not None)
    @rule(codes=st.lists(st.sampled_from([250, 250, 250, 250, 451, 550]), min_size=1, max_size=6))
    def verdicts(self, codes: list[int]) -> None:
        """Verdicts come, early enough or too late; each may let the next event out."""
        for code in codes:
            if self.owed is None:
                return
            event, self.owed = self.owed, None
            if isinstance(event, EndOfData):
                if event.fault is None and code == 250 and self.session.state is not State.CLOSED:
                    self.accepted += 1
                self.session.answer(reply(code, None, "final"))
            else:
                self.session.answer(None if code == 250 else reply(code, None, "no"))
            self.look()
            self.read()

    @rule(dice=st.integers(0, 20))
    def close(self, dice: int) -> None:
        """The session ends, now and then."""
        match dice:
            case 0:
                self.session.time_out()
            case 1:
                self.session.shut_down()
            case 2:
                self.hear(b"QUIT\r\n")

    def hear(self, octets: bytes) -> None:
        """As the connection does: feed, and read as far as verdicts allow."""
        self.session.feed(octets)
        self.read()

    def read(self) -> None:
        """Ask for events until a verdict is owed or input runs out."""
        while (event := self.session.next_event()) is not None:
            assert self.owed is None, "an event while a verdict is owed"
            assert self.session.state is not State.CLOSED
            if isinstance(event, Content):
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
            case _:
                assert transaction is not None
                assert transaction.recipients
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
            self.is_over = line.startswith((b"421", b"221"))
        self.accepted -= lines.count(b"250 final\r\n")
        assert self.accepted >= 0, "a 250 to a final dot without a verdict"
        return output

    @invariant()
    def replies_are_whole_lines_and_each_has_its_reason(self) -> None:
        """While a verdict is owed nothing is said; every 250 to a final dot was given by a verdict."""
        output = self.look()
        assert self.session.is_waiting == (self.owed is not None and self.session.state is not State.CLOSED)
        if self.owed is not None and self.session.state is not State.CLOSED:
            assert output == b""
        assert self.accepted == 0, "a verdict of 250 that was not said"
        assert self.errors <= MAXIMUM_ERRORS
        assert self.is_over == (self.session.state is State.CLOSED)

    @invariant()
    def the_state_and_the_transaction_agree(self) -> None:
        """A transaction is there in its states and in no other; it has a recipient before mail data."""
        transaction = self.session.transaction
        assert (transaction is not None) == (self.session.state in IN_TRANSACTION)
        if transaction is not None:
            has_recipient = self.session.state in (State.RCPT, State.DATA)
            assert bool(transaction.recipients) == has_recipient
            assert len(transaction.recipients) <= 3
        if self.session.state is State.CLOSED:
            assert not self.session.is_waiting
            assert self.session.backlog == 0


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
