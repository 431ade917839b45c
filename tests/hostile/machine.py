"""A machine: the session of relayd.smtp.server alone, with a spool that is a list, for a client that means harm.

Everything the policy could forbid is allowed here, so that only the machine stands between the client and the
spool. It fails as the session does: by an exception, which no client may cause.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.event import Abandoned, Auth, Content, Data, EndOfData, Event
from relayd.smtp.facts import Facts, State
from relayd.smtp.server import Session

FACTS = Facts("relay.example.org", "1", 1025)
HELO = b"HELO client.example\r\n"
EHLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<a@client.example>\r\n"
RCPT = b"RCPT TO:<b@example.net>\r\n"
TRANSACTION = HELO + MAIL + RCPT + b"DATA\r\n"
END = b"\r\n.\r\n"

# A reply's line: a code, and nothing but what a terminal can show.
REPLY_LINE = re.compile(rb"(?:[245][0-9]{2}[ -]|354 |334 )[\x20-\x7e]*\r\n")


class Machine:
    """One session; `messages` is what it left, `events` what it asked a verdict on, `replies` what it said."""

    def __init__(self, facts: Facts = FACTS) -> None:
        self.session = Session(facts)
        self.messages: list[bytes] = []
        self.events: list[Event] = []
        self.replies = self.session.output()
        self._content = b""

    def says(self, *writes: bytes) -> bytes:
        """Send these, one write after the other; give what was replied to them."""
        before = len(self.replies)
        for write in writes:
            self.session.feed(write)
            self._listen()
        return self.replies[before:]

    def secures(self) -> None:
        """The TLS handshake that the client asked for is done."""
        self.session.secure()
        self._listen()

    @property
    def is_closed(self) -> bool:
        """Whether the last word was said."""
        return self.session.state is State.CLOSED

    @property
    def codes(self) -> list[int]:
        """The codes of all replies so far, a reply of several lines once."""
        return [int(line[:3]) for line in self.replies.splitlines() if line[3:4] == b" "]

    @property
    def auths(self) -> list[Auth]:
        """Every AUTH that came to a verdict."""
        return [event for event in self.events if isinstance(event, Auth)]

    @property
    def mail(self) -> list[Mail]:
        """Every MAIL that came to a verdict."""
        return [event for event in self.events if isinstance(event, Mail)]

    @property
    def rcpts(self) -> list[Rcpt]:
        """Every RCPT that came to a verdict."""
        return [event for event in self.events if isinstance(event, Rcpt)]

    def _listen(self) -> None:
        while (event := self.session.next_event()) is not None:
            if isinstance(event, Content):
                self._content += event.octets
                continue
            if isinstance(event, Abandoned):
                continue
            self.events.append(event)
            if isinstance(event, Data):
                self._content = b""
            elif isinstance(event, EndOfData) and event.fault is None:
                self.messages.append(self._content)
            self.session.answer()
        self.replies += self.session.output()


def each_octet(octets: bytes) -> list[bytes]:
    """One octet a write."""
    return [octets[index : index + 1] for index in range(len(octets))]


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    """The octets in writes that end at these places."""
    inner = {place for place in places if 0 < place < len(octets)}
    return [octets[a:b] for a, b in pairwise(sorted({0, len(octets), *inner}))]


def lines(replies: bytes) -> list[bytes]:
    """What the server said, line by line; AssertionError for an octet that no reply may have."""
    said = replies.splitlines(keepends=True)
    for line in said:
        assert REPLY_LINE.fullmatch(line), line
    return said
