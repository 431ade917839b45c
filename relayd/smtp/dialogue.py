"""A dialogue: the octets of a server's session in both directions, and how it comes to its end.

What was heard waits here to be understood, what is said waits here to be sent. Refuses to know what the commands
mean. After the last reply nothing is heard and nothing more is said.
"""

from functools import lru_cache

from relayd.smtp.census import Census
from relayd.smtp.facts import CLOSED, START, TLS, Facts
from relayd.smtp.input import Input
from relayd.smtp.patience import Patience
from relayd.smtp.reply import Reply, reply

# Nearly all replies are a few that are always the same.
_wire = lru_cache(maxsize=64)(Reply.__bytes__)
_SPOKE_FIRST = reply(554, "5.5.0", "Error: the client spoke before the greeting")


class Dialogue:
    """See the module.

    `last_word` is the reply after which the session was closed, `unsent` what was said since the last call of
    `output`.
    """

    __slots__ = ("_census", "_facts", "_input", "_patience", "last_word", "state", "unsent")

    def __init__(self, facts: Facts, census: Census | None = None) -> None:
        self._facts = facts
        self._census = census or Census()
        self._input = Input()
        self.unsent: list[Reply] = []
        self._patience = Patience()
        self.last_word: Reply | None = None
        self.state = START
        self._say(_greeting(facts.hostname, facts.version))

    def feed(self, data: bytes) -> None:
        """Add what the client sent; what comes while TLS begins was never meant for us (CVE-2011-0411)."""
        if self.state is not CLOSED and self.state is not TLS:
            self._input.feed(data)

    def output(self) -> bytes:
        """Take the replies written since the last call."""
        if not self.unsent:
            return b""
        replies, self.unsent = self.unsent, []
        # Now they are said: a greeting may have been taken back.
        counts = self._census.replies
        octets = b""
        for each in replies:
            counts[each.code] += 1
            octets += _wire(each)
        return octets

    @property
    def backlog(self) -> int:
        """Octets fed and not yet read, such as commands pipelined behind a final dot."""
        return len(self._input)

    def speak_before_greeting(self) -> None:
        """The client had spoken when the connection was made (section 3.1): no greeting, and the end."""
        self.unsent.clear()
        self._hang_up(_SPOKE_FIRST)

    def time_out(self) -> None:
        """The client was silent for too long: 421 and the end (section 4.5.3.2)."""
        self._say(reply(421, "4.4.2", f"{self._facts.hostname} Error: timeout exceeded"))

    def shut_down(self) -> None:
        """The service ends: 421, which section 3.8 allows at any time."""
        self._say(reply(421, "4.3.2", f"{self._facts.hostname} Service shutting down, closing channel"))

    def _say(self, answer: Reply) -> None:
        """Write a reply; 221 and 421 are the last one, and nothing follows them.

        While TLS begins there is no way to say it: the client would take it for part of the handshake.
        """
        if self.state is CLOSED:
            return
        if self.state is not TLS:
            self.unsent.append(answer)
        if answer.code in (221, 421):
            self._close(answer)
        elif answer.code >= 400:
            reason = self._patience.error() if answer.is_permanent else self._patience.refusal()
            if reason is not None:
                self._say(self._farewell(reason))

    def _farewell(self, reason: str) -> Reply:
        """What is said to a client that is no longer heard."""
        return reply(421, "4.7.0", f"{self._facts.hostname} Error: {reason}")

    def _hang_up(self, last_word: Reply) -> None:
        """Say it, and nothing more: what the client sends is not what it seems to be."""
        if self.state is not CLOSED:
            self.unsent.append(last_word)
            self._close(last_word)

    def _close(self, last_word: Reply) -> None:
        self.last_word = last_word
        self.state = CLOSED
        self._input.clear()


@lru_cache(maxsize=16)
def _greeting(hostname: str, version: str) -> Reply:
    """All sessions of a process begin with the same."""
    return reply(220, None, f"{hostname} ESMTP relayd {version}")
