"""An opening: what is said before the first MAIL: EHLO or HELO, STARTTLS (RFC 3207) and AUTH (RFC 4954).

Each reply leads to one step: say something, shake hands, be open, or leave for a reason. What the server said in
the clear is forgotten in TLS. Refuses to know octets, and the transactions that follow. Never fails.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relayd.smtp.credentials import MASK, Credentials
from relayd.smtp.phase import Phase
from relayd.smtp.reply import Reply, reply

# RFC 5321 section 4.5.3.1.4, with CR LF. What makes AUTH longer is said after a challenge (RFC 4954 section 4).
_LONGEST_COMMAND = 512


@dataclass(frozen=True, slots=True)
class Terms:
    """What a server has to come to before it gets mail.

    TLS where it offers it ("opportunistic"), in any case ("require"), or never ("off"); whether the certificate is
    good is for who shakes hands. `credentials` go in TLS only, or `in_clear` too.
    """

    tls: Literal["opportunistic", "require", "off"] = "off"
    credentials: Credentials | None = None
    in_clear: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """A command, or another line, whose reply is waited for in this phase; `shown` is what may be told of it."""

    phase: Phase
    line: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class ShakeHands:
    """The server waits for the first octets of TLS."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A transaction may begin."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No mail may go to this server now."""

    reason: Reply


Step = Say | ShakeHands | Opened | Refused


class Opening:
    """One connection's; `name` is what EHLO says."""

    def __init__(self, name: str, terms: Terms) -> None:
        self._name = name
        self._terms = terms
        self._said_ehlo = False
        self._responses: deque[str] = deque()
        self.is_leaving = False
        self.is_secured = False
        self.greeting: Reply | None = None
        # What the server has offered since the connection is what it is now: the keywords, with their parameters.
        self.extensions: dict[str, str] = {}

    def hear(self, phase: Phase, answer: Reply) -> Step:
        """The reply that was waited for in this phase."""
        return _HEARERS[phase](self, answer)

    def secure(self) -> Step:
        """The handshake is done: the server is spoken to as if for the first time (RFC 3207 section 4.2)."""
        self.is_secured = True
        return self._say_ehlo()

    def _hear_greeting(self, answer: Reply) -> Step:
        if not answer.is_positive:
            return Refused(answer)
        self.greeting = answer
        if self.is_leaving:
            return Say(Phase.QUIT, "QUIT")
        return self._say_ehlo()

    def _say_ehlo(self) -> Step:
        self._said_ehlo = True
        self.extensions = {}
        return Say(Phase.HELLO, f"EHLO {self._name}")

    def _hear_hello(self, answer: Reply) -> Step:
        if not answer.is_positive:
            if self._said_ehlo and answer.is_permanent:
                # Section 3.2: a server that does not know EHLO is spoken to with HELO.
                self._said_ehlo = False
                return Say(Phase.HELLO, f"HELO {self._name}")
            return Refused(answer)
        if self.is_leaving:
            return Say(Phase.QUIT, "QUIT")
        if self._said_ehlo:
            self.extensions = _extensions(answer)
        if self._terms.tls != "off" and not self.is_secured:
            if "STARTTLS" in self.extensions:
                return Say(Phase.STARTTLS, "STARTTLS")
            if self._terms.tls == "require":
                return Refused(reply(451, "4.7.4", "TLS is required here, and the server does not offer it"))
        return self._authenticate()

    def _hear_starttls(self, answer: Reply) -> Step:
        if answer.is_positive:
            return ShakeHands()
        # To go on in the clear is for who may open another connection.
        return Refused(reply(451, "4.7.4", f"STARTTLS was offered and then refused: {answer}"))

    def _authenticate(self) -> Step:
        credentials = self._terms.credentials
        if credentials is None:
            return Opened()
        if not (self.is_secured or self._terms.in_clear):
            return Refused(reply(454, "4.7.4", "credentials are not sent without TLS"))
        offered = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            line = f"AUTH PLAIN {credentials.plain}"
            if len(line) + 2 <= _LONGEST_COMMAND:
                return Say(Phase.AUTH, line, f"AUTH PLAIN {MASK}")
            self._responses.append(credentials.plain)
            return Say(Phase.AUTH, "AUTH PLAIN")
        if "LOGIN" in offered:
            self._responses.extend(credentials.login)
            return Say(Phase.AUTH, "AUTH LOGIN")
        return Refused(reply(454, "4.7.4", "the server offers neither AUTH PLAIN nor AUTH LOGIN"))

    def _hear_auth(self, answer: Reply) -> Step:
        if answer.code // 100 == 3 and self._responses:
            return Say(Phase.AUTH, self._responses.popleft(), MASK)
        if answer.code // 100 == 2:
            return Opened()
        # Whatever its class: it is the operator's to mend, and no recipient's failure.
        return Refused(reply(454, "4.7.8", f"authentication was refused: {answer}"))


_HEARERS: dict[Phase, Callable[[Opening, Reply], Step]] = {
    Phase.GREETING: Opening._hear_greeting,
    Phase.HELLO: Opening._hear_hello,
    Phase.STARTTLS: Opening._hear_starttls,
    Phase.AUTH: Opening._hear_auth,
}


def _extensions(answer: Reply) -> dict[str, str]:
    """The keywords of an EHLO reply and their parameters (section 4.1.1.1); the first line is the greeting."""
    found: dict[str, str] = {}
    for line in answer.lines[1:]:
        keyword, _, parameters = line.partition(" ")
        found[keyword.upper()] = parameters
    return found
