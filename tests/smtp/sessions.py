"""Sessions for tests: brought to where one of their events waits, or played to the end with positive verdicts."""

import re
from collections.abc import Iterable

from relayd.smtp.address import Address
from relayd.smtp.command import Mail, Rcpt
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

FACTS = Facts(
    "relay.example.org", "1", 40_000, starttls=True, auth="offered", auth_in_clear=True, origin="example.org"
)
TOO_EARLY = b"554 5.5.0 Error: the client did not wait for the reply to DATA or STARTTLS\r\n"
QUEUED = reply(250, "2.0.0", "Ok: queued as X")
UNTIL = {
    Mail: b"HELO c\r\nMAIL FROM:<a@b>\r\n",
    Rcpt: b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
    Data: b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    EndOfData: b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n",
    StartTls: b"EHLO c\r\nSTARTTLS\r\n",
    Auth: b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\n",
}


def session(facts: Facts = FACTS) -> Session:
    """A session that has been greeted."""
    new = Session(facts)
    assert new.output().startswith(b"220 ")
    return new


def waiting_for(kind: type[Event], facts: Facts = FACTS) -> Session:
    """A session whose event of this kind waits for its verdict; the replies before it are taken."""
    new = session(facts)
    for write in polite(UNTIL[kind]):
        new.feed(write)
        for event in iter(new.next_event, None):
            if isinstance(event, kind):
                new.output()
                return new
            if not isinstance(event, Content):
                new.answer()
    raise AssertionError(f"no {kind}")


def polite(wire: bytes) -> list[bytes]:
    """The same in writes of a client that waits for the reply to DATA (RFC 2920 section 3.1)."""
    return [each for each in re.split(rb"(?<=^DATA\r\n)", wire, flags=re.MULTILINE) if each]


def play(writes: Iterable[bytes], facts: Facts = FACTS) -> tuple[bytes, list[tuple[Mail, list[Address], bytes]]]:
    """All that a session says to these writes with every verdict positive, and the messages that it got."""
    new = Session(facts)
    messages, data = [], b""
    for write in writes:
        new.feed(write)
        for event in iter(new.next_event, None):
            if isinstance(event, Content | Abandoned):
                data = data + event.octets if isinstance(event, Content) else b""
                continue
            if isinstance(event, EndOfData):
                if event.fault is None:
                    assert event.size == len(data)
                    assert new.transaction is not None
                    messages.append((new.transaction.mail, list(new.transaction.recipients), data))
                data = b""
            new.answer()
            if new.state is State.TLS:
                new.secure()
    return new.output(), messages
