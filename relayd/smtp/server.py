"""A session: the server's side of one SMTP dialogue as a state machine (RFC 5321 sections 3, 4.1 and 4.3).

Bytes go in by `feed`, events come out of `next_event`, replies out of `output`. All events but `Content` and
`Abandoned` wait for a verdict: no further line is read and no reply is written before `answer` is called, so that
a 250 before the message is safe cannot be said by mistake. The machine knows the grammar, the order of commands
and the fixed limits. It refuses to know who the client is, what it may do, and what time it is. It never raises
for anything a client sends.
"""

from relayd.smtp import wording
from relayd.smtp.body import Body, Chunk, Dotted, Unwanted
from relayd.smtp.census import Census
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.data import Decoder
from relayd.smtp.event import Abandoned as Abandoned
from relayd.smtp.event import Auth as Auth
from relayd.smtp.event import Content as Content
from relayd.smtp.event import Data as Data
from relayd.smtp.event import EndOfData as EndOfData
from relayd.smtp.event import Event as Event
from relayd.smtp.event import StartTls as StartTls
from relayd.smtp.exchange import Exchange
from relayd.smtp.facts import CHUNKS, CLOSED, DATA, MAIL, RCPT, TLS
from relayd.smtp.facts import Facts as Facts
from relayd.smtp.facts import State as State
from relayd.smtp.input import MAXIMUM_AUTH_LINE
from relayd.smtp.interpreter import Interpreter
from relayd.smtp.interpreter import Transaction as Transaction
from relayd.smtp.reply import Reply, reply


class Session(Interpreter):
    """One client's session, from the greeting to the last reply; what is said is counted in `census`.

    `pending` is the event that waits for its verdict.
    """

    __slots__ = ("pending",)

    def __init__(self, facts: Facts, census: Census | None = None) -> None:
        super().__init__(facts, census)
        self.pending: Event | None = None

    def next_event(self) -> Event | None:
        """The next event; None while a verdict is owed, or until more bytes come, or when closed."""
        if self.pending is not None:
            return None
        while self.state is not CLOSED:
            if self._is_abandoned:
                self._is_abandoned = False
                return Abandoned()
            body = self._body
            if body is None:
                line = self._input.next_line(None if self._exchange is None else MAXIMUM_AUTH_LINE)
                if line is None:
                    return None
                heard = self._obey(line) if self._exchange is None else self._respond(self._exchange, line)
            elif not body.is_over and (octets := body.read(self._input)):
                return Content(octets)
            elif body.is_over:
                heard = self._end_body(body)
            else:
                return None
            if isinstance(heard, Reply):
                self._say(heard)
            elif heard is not None:
                self.pending = heard
                return heard
        return None

    def answer(self, verdict: Reply | None = None) -> None:
        """Give the verdict on the event that waits; None means the usual positive reply.

        A verdict that comes when the session is closed already comes too late: the last word has been said.
        """
        if self.state is CLOSED:
            return
        event, self.pending = self.pending, None
        refusal = None if verdict is None or verdict.is_positive else verdict
        match event:
            case Mail():
                self._say(verdict or wording.MAIL_OK)
                if refusal is None:
                    self.transaction = Transaction(event)
                    self.state = MAIL
            case Rcpt():
                self._say(verdict or wording.RCPT_OK)
                if refusal is None and self.transaction is not None:
                    self.transaction.recipients.append(event.forward_path)
                    self.state = RCPT
            case Data():
                self._begin_data(refusal)
            case EndOfData():
                if event.fault is None and refusal is None:
                    self._patience.mail_came()
                self._say(event.fault or verdict or wording.OK)
                self._end_transaction()
            case StartTls():
                self._begin_tls(refusal)
            case Auth():
                self._say(verdict or wording.AUTHENTICATED)
                if refusal is None:
                    self.user = event.user
                    self.is_trusted = True
            case _:
                raise AssertionError("no event waits for a verdict")

    def secure(self) -> None:
        """The handshake is done: all that was said in the clear is forgotten (RFC 3207 section 4.2)."""
        if self.state is not CLOSED:
            assert self.state is TLS
            self._begin()
            self.is_secure = True

    def _respond(self, exchange: Exchange, line: bytes | Reply) -> Event | Reply:
        """What a line of the AUTH exchange comes to; anything but a challenge ends it."""
        if isinstance(line, Reply):
            heard: Event | Reply = wording.AUTH_LINE_TOO_LONG if line is wording.LINE_TOO_LONG else line
        else:
            heard = exchange.respond(line)
        if not isinstance(heard, Reply) or not heard.is_positive:
            self._exchange = None
        return heard

    def _begin_data(self, refusal: Reply | None) -> None:
        """The verdict on DATA, or on a first BDAT, whose octets are there or still to come."""
        chunk = self._body
        if refusal is not None:
            self._end_transaction()
            # 421 is for the session, and does not wait.
            if isinstance(chunk, Chunk) and refusal.code != 421:
                self._body = Unwanted(chunk.size, refusal)
            else:
                self._say(refusal)
        elif chunk is not None:
            self.state = DATA
        elif len(self._input):
            self._hang_up(wording.TOO_EARLY)
        else:
            self._say(wording.START_DATA)
            self._body = Dotted(Decoder(limit=self._facts.maximum_message, normalize=self._normalizes))
            self.state = DATA

    def _end_body(self, body: Body) -> EndOfData | Reply:
        self._body = None
        if isinstance(body, Unwanted):
            return body.refusal
        if isinstance(body, Chunk) and not body.is_last and body.data.fault is None:
            self.state = CHUNKS
            return reply(250, "2.0.0", f"{body.size} octets received")
        return EndOfData(body.data.size, body.data.fault)

    def _begin_tls(self, refusal: Reply | None) -> None:
        if refusal is not None:
            self._say(refusal)
        elif len(self._input):
            self._hang_up(wording.TOO_EARLY)
        else:
            self._say(wording.START_TLS)
            self.state = TLS

    def _close(self, last_word: Reply) -> None:
        super()._close(last_word)
        self.pending = None
