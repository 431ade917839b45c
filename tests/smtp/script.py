"""Scripts: what a server says to the conversation machine, and what happens in between."""

from dataclasses import dataclass, field

from relayd.smtp.client import Conversation, Event, Order, Phase, Ready, SendContent
from relayd.smtp.reply import MAXIMUM_REPLY, reply

ORDER = Order("a@b", ("b@c", "d@e"))
LOSS = reply(451, "4.4.2", "lost")
# What a script may do between the server's words.
DOT = "the mail data and its end go out"
LOST = "the connection is lost"
EHLO = b"220 mx ready\r\n", b"250 mx\r\n"
PIPELINING = b"220 mx ready\r\n", b"250-mx\r\n250 PIPELINING\r\n"

Line = bytes | str


def run(conversation: Conversation, *script: Line, bytewise: bool = False) -> list[Event]:
    """Play a script; what the client has to say goes out before each word of the server."""
    events: list[Event] = []
    for step in script:
        conversation.output()
        if step == DOT:
            assert events[-1] == SendContent()
            conversation.content_sent()
        elif isinstance(step, str):
            conversation.lose(LOSS)
        elif bytewise:
            for index in range(len(step)):
                conversation.feed(step[index : index + 1])
        else:
            conversation.feed(step)
        events += iter(conversation.next_event, None)
    return events


def ready(*greeting: bytes) -> Conversation:
    """A conversation that waits for a transaction."""
    conversation = Conversation("relay.example.org")
    (event,) = run(conversation, *greeting)
    assert isinstance(event, Ready)
    return conversation


@dataclass(frozen=True)
class Case:
    """What the server says from MAIL on, the codes of the result, the phase after it, and who is in doubt.

    `says` has a word for each write of the server: a code is a reply with it, and + joins two in one write.
    """

    says: str
    codes: list[int]
    phase: Phase = Phase.READY
    doubt: set[int] = field(default_factory=set)

    @property
    def script(self) -> list[Line]:
        """For `run`."""
        return [_SPECIAL.get(word) or b"".join(map(_line, word.split("+"))) for word in self.says.split()]


_SPECIAL: dict[str, Line] = {
    "DOT": DOT,
    "LOST": LOST,
    "long-250": b"250-x\r\n250-x\r\n250 x\r\n",
    "half-250": b"250-x\r\n250 x",
    "what": b"what\r\n",
    "endless": b"250-" + b"x" * MAXIMUM_REPLY,
}


def _line(code: str) -> bytes:
    return f"{code} x\r\n".encode()
