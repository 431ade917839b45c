"""A fuzzer's hand on one session: it feeds, asks, answers and secures as it is told, and looks after each step.

What always holds is in `look` and `_take`: it fails by AssertionError. It shares with relayd only the names of
events and states, and keeps its own account of what may come next.
"""

import re
from collections.abc import Iterable

from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.event import Abandoned, Auth, Content, Data, EndOfData, Event, StartTls
from relayd.smtp.facts import Facts, State
from relayd.smtp.reply import reply
from relayd.smtp.server import Session
from tests.hostile.machine import lines

IN_TRANSACTION = {State.MAIL, State.RCPT, State.DATA, State.CHUNKS}
# More than any line may have, and one piece of mail data.
MOST_KEPT = 16_384
PASSWORD = "never-shown"

_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_QUEUED = re.compile(rb"(?m)^250 Ok: queued as ([0-9]+)\r$")
OK, LATER, NEVER = 250, 451, 550


class Fuzzed:
    """One session; `accepted` are the messages that were acknowledged."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.session = Session(facts)
        self.owed: Event | None = None
        self.accepted: list[bytes] = []
        self.replies = b""
        self._content: bytes | None = None
        self._recipients = 0
        self._has_mail = False
        self._greeted = False
        self._user = ""
        self._secure = facts.secure
        self._was_closed = False
        self.look()

    def says(self, writes: Iterable[bytes]) -> None:
        """The client sends; events are taken out as far as they come."""
        for write in writes:
            self.session.feed(write)
            self.look()

    def answers(self, code: int) -> None:
        """The verdict that is owed."""
        event, self.owed = self.owed, None
        assert event is not None
        is_open = self.session.state is not State.CLOSED
        match event:
            case EndOfData():
                number = len(self.accepted)
                if is_open and code == OK and event.fault is None:
                    assert self._content is not None
                    self.accepted.append(self._content)
                self._content, self._has_mail, self._recipients = None, False, 0
                self.session.answer(reply(code, None, f"Ok: queued as {number}" if code == OK else "no"))
            case Auth():
                self.session.answer(None if code == OK else reply(535, "5.7.8", "no"))
                if is_open and code == OK:
                    self._user = event.user
            case StartTls():
                self.session.answer(None if code == OK else reply(454, "4.7.0", "no"))
            case _:
                self._judged(event, code, is_open=is_open)
        self.look()

    def secures(self) -> None:
        """The handshake is done."""
        self.session.secure()
        self._forget_transaction()
        self._greeted, self._user, self._secure, self.owed = False, "", True, None
        assert self.session.state is State.START
        assert self.session.is_secure
        assert (self.session.user, self.session.client_name, self.session.backlog) == ("", "", 0)
        assert self.session.output() == b""
        self.look()

    def look(self) -> None:
        """Take the events out, and see that all is as it must be."""
        session = self.session
        if self.owed is not None:
            # Asked as often as one likes, the same event comes once, and nothing is said.
            assert session.next_event() is None
        while self.owed is None and (event := session.next_event()) is not None:
            self._take(event)
        said = session.output()
        lines(said)
        self.replies += said
        assert not (self._was_closed and said)
        self._was_closed = session.state is State.CLOSED
        if self._was_closed:
            assert session.next_event() is None
            assert session.backlog == 0
            self.owed = None
        elif self.owed is None and session.state is not State.TLS:
            assert session.backlog <= MOST_KEPT
        assert (session.transaction is not None) == (session.state in IN_TRANSACTION) or self._was_closed
        assert session.is_secure is self._secure
        assert session.user == self._user
        assert session.is_trusted is (self.facts.trusted or bool(self._user))
        # A 250 to mail data is said once for each message that was accepted, and never without.
        assert [int(number) for number in _QUEUED.findall(self.replies)] == list(range(len(self.accepted)))
        assert PASSWORD.encode() not in self.replies

    # What may come.

    def _take(self, event: Event) -> None:
        assert self.session.state is not State.CLOSED
        # Unless it was said in the place of the name.
        assert PASSWORD not in repr(event) or (isinstance(event, Auth) and event.user == PASSWORD)
        match event:
            case Content():
                assert self._content is not None, "content without DATA"
                assert event.octets
                self._content += event.octets
                assert len(self._content) <= self.facts.maximum_message
                return
            case Abandoned():
                assert self._content is not None, "nothing to abandon"
                self._forget_transaction()
                return
            case Mail():
                self._forget_transaction_if_over()
                assert not self._has_mail
                assert self.session.client_name
                assert self.facts.auth != "required" or self._user
                assert event.size is None or event.size <= self.facts.maximum_message
            case Rcpt():
                assert self._has_mail
                assert self._recipients < self.facts.maximum_recipients
            case Data():
                assert self._has_mail
                assert self._recipients
                assert self._content is None
            case EndOfData():
                self._end(event)
            case StartTls():
                assert self.facts.starttls
                assert not self._secure
            case Auth():
                assert self.facts.auth != "off"
                assert self._secure or self.facts.auth_in_clear
                assert not self._user
                assert not self._has_mail or self.session.transaction is None
        self.owed = event

    def _end(self, event: EndOfData) -> None:
        assert self._content is not None, "an end without DATA"
        if event.fault is None:
            assert event.size == len(self._content)
            assert not _LONE.search(self._content)
        else:
            assert not event.fault.is_positive

    def _judged(self, event: Event, code: int, *, is_open: bool) -> None:
        self.session.answer(None if code == OK else reply(code, None, "no"))
        if not is_open or code != OK:
            return
        match event:
            case Mail():
                self._has_mail, self._recipients = True, 0
            case Rcpt():
                self._recipients += 1
            case Data():
                self._content = b""

    def _forget_transaction_if_over(self) -> None:
        """RSET, HELO and a DATA that was refused end a transaction without an event."""
        if self.session.transaction is None:
            self._forget_transaction()

    def _forget_transaction(self) -> None:
        self._content, self._has_mail, self._recipients = None, False, 0
