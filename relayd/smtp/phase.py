"""A phase: what a conversation waits for, and how long RFC 5321 has a client wait for it at least.

Refuses to know clocks: whoever has the connection keeps the time.
"""

from enum import Enum


class Phase(Enum):
    """What the conversation waits for."""

    # The members are what they are, so that a look-up by one needs none of Enum's own Python: 20 ns, not 60.
    __hash__ = object.__hash__

    GREETING = "greeting"
    HELLO = "reply to EHLO"
    STARTTLS = "reply to STARTTLS"
    TLS = "TLS handshake"
    AUTH = "reply to AUTH"
    READY = "idle"
    MAIL = "reply to MAIL"
    RCPT = "reply to RCPT"
    DATA = "reply to DATA"
    CONTENT = "mail data to send"
    FINAL = "reply to the final dot"
    RESET = "reply to RSET"
    QUIT = "reply to QUIT"
    CLOSED = "closed"


# The same as names of this module: to look a member up in its class takes 35 ns, and a message asks forty times.
GREETING, HELLO, STARTTLS, TLS, AUTH, READY, MAIL, RCPT, DATA, CONTENT, FINAL, RESET, QUIT, CLOSED = Phase


# Section 4.5.3.2, in seconds. CONTENT is the data block's, FINAL the one after the final dot; the RFC names
# none for EHLO, STARTTLS and AUTH, which get MAIL's. Nobody owes a server ten minutes after the mail is gone, nor
# one that stalls a handshake, of which every step is the server's own work.
TIMEOUTS: dict[Phase, float] = {
    Phase.GREETING: 300.0,
    Phase.HELLO: 300.0,
    Phase.STARTTLS: 300.0,
    Phase.TLS: 60.0,
    Phase.AUTH: 300.0,
    Phase.READY: 300.0,
    Phase.MAIL: 300.0,
    Phase.RCPT: 300.0,
    Phase.DATA: 120.0,
    Phase.CONTENT: 180.0,
    Phase.FINAL: 600.0,
    Phase.RESET: 20.0,
    Phase.QUIT: 5.0,
}
