"""A session: the server's side of one SMTP dialogue as a state machine (RFC 5321 sections 3, 4.1 and 4.3).

Bytes go in by `feed`, events come out of `next_event`, replies out of `output`. `Mail`, `Rcpt`, `Data` and
`EndOfData` wait for a verdict: no further line is read and no reply is written before `answer` is called, so
that a 250 before the message is safe cannot be said by mistake. The machine knows the grammar, the order of
commands and the fixed limits. It refuses to know who the client is, what it may do, and what time it is. It
never raises for anything a client sends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from relayd.smtp import command, wording
from relayd.smtp.address import Address
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.data import TOO_LARGE, Decoder
from relayd.smtp.input import Input
from relayd.smtp.reply import Reply, reply

MAXIMUM_ERRORS = 20
# Mail data is decoded in pieces of this many octets, so that a message in a long pipelined input does not make
# copies of all that follows it.
_PIECE = 65_536


class State(Enum):
    """What the session has heard so far; MAIL and RCPT are inside a transaction."""

    START = "before HELO"
    READY = "no transaction"
    MAIL = "reverse-path given"
    RCPT = "a forward-path given"
    DATA = "mail data, up to the verdict on it"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Data:
    """DATA: may the transaction's mail data come?"""


@dataclass(frozen=True, slots=True)
class Content:
    """The next octets of the mail data, without transparency dots. Needs no verdict."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class EndOfData:
    """The final dot. `fault` is what the machine itself found wrong; it outranks a positive verdict."""

    size: int
    fault: Reply | None


Event = Mail | Rcpt | Data | Content | EndOfData


@dataclass(frozen=True, slots=True)
class Facts:
    """What a session is told at its start. Sizes in octets; `client_port` is what HELO answers with."""

    hostname: str
    version: str
    client_port: int
    extended: bool = True
    maximum_message: int = 50_000_000
    maximum_recipients: int = 1000
    normalize: bool = False


@dataclass(slots=True)
class Transaction:
    """What MAIL and RCPT have said; it ends with the final dot, RSET, HELO or the session."""

    mail: Mail
    recipients: list[Address] = field(default_factory=list)


# The order of commands (section 4.1.4): what a command out of its place is answered, by the state it comes in.
_OUT_OF_ORDER: dict[tuple[str, State], Reply] = {
    ("MAIL", State.START): wording.SEND_HELO,
    ("MAIL", State.MAIL): wording.NESTED_MAIL,
    ("MAIL", State.RCPT): wording.NESTED_MAIL,
    ("RCPT", State.START): wording.NEED_MAIL,
    ("RCPT", State.READY): wording.NEED_MAIL,
    ("DATA", State.START): wording.NEED_RCPT,
    ("DATA", State.READY): wording.NEED_RCPT,
    ("DATA", State.MAIL): wording.NEED_RCPT,
}


class Session:
    """One client's session, from the greeting to the last reply."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._input = Input()
        self._output: list[bytes] = []
        self._pending: Event | None = None
        self._announced = False
        self._decoder: Decoder | None = None
        self._errors = 0
        self.state = State.START
        self.client_name = ""
        self.is_extended = False
        self.transaction: Transaction | None = None
        self._say(reply(220, None, f"{facts.hostname} ESMTP relayd {facts.version}"))

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        """Add what the client sent."""
        if self.state is not State.CLOSED:
            self._input.feed(data)

    def output(self) -> bytes:
        """Take the replies written since the last call."""
        if not self._output:
            return b""
        replies, self._output = self._output, []
        return b"".join(replies)

    @property
    def is_waiting(self) -> bool:
        """Whether an event waits for its verdict."""
        return self._pending is not None

    @property
    def backlog(self) -> int:
        """Octets fed and not yet read, such as commands pipelined behind a final dot."""
        return len(self._input)

    def next_event(self) -> Event | None:
        """The next event; None while a verdict is owed, or until more bytes come, or when closed."""
        while self._pending is None and self.state is not State.CLOSED:
            if self.state is State.DATA:
                if octets := self._read_data():
                    return Content(octets)
                if self._pending is None:
                    return None
            else:
                line = self._input.next_line()
                if line is None:
                    return None
                heard = line if isinstance(line, Reply) else self._obey(line)
                if isinstance(heard, Reply):
                    self._say(heard)
                else:
                    self._pending = heard
        return self._take_pending()

    def answer(self, verdict: Reply | None = None) -> None:
        """Give the verdict on the event that waits; None means the usual positive reply.

        A verdict that comes when the session is closed already comes too late: the last word has been said.
        """
        if self.state is State.CLOSED:
            return
        event, self._pending = self._pending, None
        self._announced = False
        match event:
            case Mail():
                self._say(verdict or wording.MAIL_OK)
                if verdict is None or verdict.is_positive:
                    self.transaction = Transaction(event)
                    self.state = State.MAIL
            case Rcpt():
                self._say(verdict or wording.RCPT_OK)
                if self.transaction is not None and (verdict is None or verdict.is_positive):
                    self.transaction.recipients.append(event.forward_path)
                    self.state = State.RCPT
            case Data():
                self._begin_data(verdict)
            case EndOfData():
                self._say(event.fault or verdict or wording.OK)
                self._end_transaction()
            case _:
                raise AssertionError("no event waits for a verdict")

    def time_out(self) -> None:
        """The client was silent for too long: 421 and the end (section 4.5.3.2)."""
        self._say(reply(421, "4.4.2", f"{self._facts.hostname} Error: timeout exceeded"))

    def shut_down(self) -> None:
        """The service ends: 421, which section 3.8 allows at any time."""
        self._say(reply(421, "4.3.2", f"{self._facts.hostname} Service shutting down, closing channel"))

    # Lines and mail data.

    def _take_pending(self) -> Event | None:
        """Hand each event out once, however often the connection asks before its verdict."""
        if self._pending is None or self._announced:
            return None
        self._announced = True
        return self._pending

    def _begin_data(self, verdict: Reply | None) -> None:
        if verdict is not None and not verdict.is_positive:
            self._say(verdict)
            self._end_transaction()
            return
        self._say(wording.START_DATA)
        self._decoder = Decoder(limit=self._facts.maximum_message, normalize=self._facts.normalize)
        self.state = State.DATA

    def _read_data(self) -> bytes:
        """The next octets of the message, or none until more come; at the final dot its event is pending."""
        decoder, octets = self._decoder, b""
        assert decoder is not None
        while not octets and self._pending is None and (piece := self._input.peek(_PIECE)):
            octets, rest = decoder.feed(piece)
            self._input.skip(len(piece) - len(rest or b""))
            if rest is not None:
                self._pending = EndOfData(decoder.size, decoder.fault)
                self._decoder = None
        return octets

    # Commands: each gives the reply, or the event whose verdict will be the reply.

    def _obey(self, line: bytes) -> Event | Reply:
        verb, argument = command.split(line)
        action = _ACTIONS.get(verb)
        if action is None:
            return wording.NOT_RECOGNIZED
        refusal = _OUT_OF_ORDER.get((verb, self.state))
        if refusal is not None:
            return refusal
        return action(self, argument) if command.is_text(argument) else wording.SYNTAX[verb]

    def _helo(self, argument: str) -> Reply:
        name = command.client_name(argument)
        if name is None:
            return wording.SYNTAX["HELO"]
        self._greet(name, extended=False)
        return reply(250, None, f"{self._facts.hostname} {self._facts.client_port} OK")

    def _ehlo(self, argument: str) -> Reply:
        if not self._facts.extended:
            return wording.NOT_IMPLEMENTED
        name = command.client_name(argument)
        if name is None:
            return wording.SYNTAX["EHLO"]
        self._greet(name, extended=True)
        size = f"SIZE {self._facts.maximum_message}"
        return reply(250, None, self._facts.hostname, "PIPELINING", "8BITMIME", size, "ENHANCEDSTATUSCODES")

    def _greet(self, name: str, *, extended: bool) -> None:
        """HELO and EHLO also forget a transaction, as RSET does (section 4.1.4)."""
        self.client_name = name
        self.is_extended = extended
        self.transaction = None
        self.state = State.READY

    def _mail(self, argument: str) -> Event | Reply:
        mail = command.parse_mail(argument, extended=self._facts.extended)
        if isinstance(mail, Mail) and mail.size is not None and mail.size > self._facts.maximum_message:
            return TOO_LARGE
        return mail

    def _rcpt(self, argument: str) -> Event | Reply:
        assert self.transaction is not None
        rcpt = command.parse_rcpt(argument)
        if isinstance(rcpt, Rcpt) and len(self.transaction.recipients) >= self._facts.maximum_recipients:
            return wording.TOO_MANY_RECIPIENTS
        return rcpt

    def _data(self, argument: str) -> Event | Reply:
        return wording.SYNTAX["DATA"] if argument else Data()

    def _rset(self, argument: str) -> Reply:
        if argument:
            return wording.SYNTAX["RSET"]
        self._end_transaction()
        return wording.OK

    def _noop(self, argument: str) -> Reply:
        """NOOP may carry any text (section 4.1.1.9)."""
        return wording.OK

    def _vrfy(self, argument: str) -> Reply:
        """Section 3.5.3: 252 for what may be an address, since none is ever confirmed."""
        return wording.CANNOT_VRFY if command.names_a_user(argument) else wording.SYNTAX["VRFY"]

    def _expn(self, argument: str) -> Reply:
        return wording.NOT_IMPLEMENTED

    def _help(self, argument: str) -> Reply:
        verbs = [verb for verb in _ACTIONS if verb != "EXPN" and (verb != "EHLO" or self._facts.extended)]
        return reply(214, "2.0.0", "Commands: " + " ".join(verbs), "See RFC 5321")

    def _quit(self, argument: str) -> Reply:
        return wording.SYNTAX["QUIT"] if argument else wording.BYE

    def _end_transaction(self) -> None:
        self.transaction = None
        if self.state not in (State.START, State.CLOSED):
            self.state = State.READY

    # Replies.

    def _say(self, answer: Reply) -> None:
        """Write a reply; 221 and 421 are the last one, and nothing follows them."""
        if self.state is State.CLOSED:
            return
        self._output.append(bytes(answer))
        if answer.code in (221, 421):
            self.state = State.CLOSED
            self.transaction = self._pending = self._decoder = None
            self._input.clear()
        elif answer.is_permanent:
            self._errors += 1
            if self._errors == MAXIMUM_ERRORS:
                self._say(reply(421, "4.7.0", f"{self._facts.hostname} Error: too many errors"))


_ACTIONS: dict[str, Callable[[Session, str], Event | Reply]] = {
    "HELO": Session._helo,
    "EHLO": Session._ehlo,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "VRFY": Session._vrfy,
    "EXPN": Session._expn,
    "HELP": Session._help,
    "QUIT": Session._quit,
}
