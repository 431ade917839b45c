"""An interpreter: what each command does in a server's session (RFC 5321 section 4.1.1, and the extensions).

Its state is what the client has said; what a command comes to is a reply, or an event that others have to judge.
Refuses to know verdicts, and mail data beyond its announcement. It never raises for anything a client sends.
"""

from collections.abc import Callable

import msgspec

from relayd.smtp import command, extensions, sequence, wording
from relayd.smtp.address import Address
from relayd.smtp.body import Body, Chunk, Unwanted
from relayd.smtp.census import Census
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.data import TOO_LARGE, Chunks
from relayd.smtp.dialogue import Dialogue
from relayd.smtp.event import Data, Event, StartTls
from relayd.smtp.exchange import MECHANISMS, Exchange
from relayd.smtp.facts import CHUNKS, CLOSED, DATA, READY, START, Facts
from relayd.smtp.input import announces_chunk
from relayd.smtp.reply import Reply, reply

_HTTP = frozenset({"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI"})
# Behind these a client has to wait for the reply (RFC 2920 section 3.1, RFC 3207 section 4): what follows at once
# is either not meant as commands, or put there by somebody in the middle.
_ALONE = frozenset({"DATA", "STARTTLS"})
# Those whose argument may have a mailbox in it.
_INTERNATIONAL = frozenset({"MAIL", "RCPT", "VRFY"})
_NOT_IDLE = sequence.TRANSACTION | {"QUIT"}


class Transaction(msgspec.Struct):
    """What MAIL and RCPT have said; it ends with the verdict on the mail data, RSET, HELO or the session."""

    mail: Mail
    recipients: list[Address] = msgspec.field(default_factory=list)


class Interpreter(Dialogue):
    """See the module. `user` is whom AUTH has proved the client to be, empty for nobody.

    `is_trusted` clients may relay: those whose `Facts` say so, and users.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_exchange",
        "_is_abandoned",
        "client_name",
        "is_extended",
        "is_secure",
        "is_trusted",
        "transaction",
        "user",
    )

    def __init__(self, facts: Facts, census: Census | None = None) -> None:
        super().__init__(facts, census)
        self.is_secure = facts.secure
        self._begin()

    def _begin(self) -> None:
        """Nothing is known of the client."""
        self._body: Body | None = None
        self._chunks: Chunks | None = None
        self._is_abandoned = False
        self._exchange: Exchange | None = None
        self.state = START
        self.client_name = ""
        self.is_extended = False
        self.is_trusted = self._facts.trusted
        self.user = ""
        self.transaction: Transaction | None = None

    @property
    def _origin(self) -> str | None:
        return self._facts.origin if self.is_trusted else None

    @property
    def _normalizes(self) -> bool:
        return self._facts.normalize and self.is_trusted

    def _obey(self, line: bytes | Reply) -> Event | Reply | None:
        """The event or the reply that a line comes to; None when all is said, or has to wait for more octets."""
        if isinstance(line, Reply):
            return self._misheard(line)
        verb, argument = command.split(line)
        action = _ACTIONS.get(verb)
        if action is None:
            return self._wonder(verb, line)
        self._census.commands[verb] += 1
        if verb in _ALONE and len(self._input):
            self._hang_up(wording.TOO_EARLY)
        elif verb not in _NOT_IDLE and (reason := self._patience.idle()) is not None:
            return self._farewell(reason)
        elif (refusal := self._refusal(verb, argument)) is None:
            return action(self, argument)
        elif verb != "BDAT":
            return refusal
        else:
            self._drop_chunk(argument, refusal)
        return None

    def _misheard(self, refusal: Reply) -> Reply | None:
        """It is no line."""
        if refusal is not wording.BAD_CHUNK:
            return refusal
        self._hang_up(refusal)
        return None

    def _wonder(self, verb: str, line: bytes) -> Reply | None:
        """It is no command of ours."""
        self._census.commands["other"] += 1
        if verb in _HTTP:
            self._hang_up(wording.NOT_HTTP)
        elif announces_chunk(line):
            self._hang_up(wording.BAD_CHUNK)
        else:
            reason = self._patience.idle()
            return wording.NOT_RECOGNIZED if reason is None else self._farewell(reason)
        return None

    def _refusal(self, verb: str, argument: str) -> Reply | None:
        """Why the command cannot be obeyed, whatever it says."""
        if self._facts.auth == "required" and not self.user and verb in sequence.TRANSACTION:
            return wording.SEND_HELO if self.state is START else wording.NEED_AUTH
        refusal = sequence.REFUSALS[verb].get(self.state) if verb in sequence.REFUSALS else None
        if refusal is not None:
            return (
                wording.NOT_IMPLEMENTED if refusal is wording.SEND_EHLO and not self._facts.extended else refusal
            )
        if command.is_text(argument, international=verb in _INTERNATIONAL):
            return None
        return wording.SYNTAX.get(verb, wording.BAD_CHUNK)

    # Commands.

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
        return extensions.greeting(self._facts, secure=self.is_secure, user=self.user)

    def _greet(self, name: str, *, extended: bool) -> None:
        """HELO and EHLO also forget a transaction, as RSET does (section 4.1.4)."""
        self.client_name = name
        self.is_extended = extended
        self._end_transaction()
        self.state = READY

    def _starttls(self, argument: str) -> Event | Reply:
        if argument:
            return wording.SYNTAX["STARTTLS"]
        if extensions.has_starttls(self._facts, secure=self.is_secure):
            return StartTls()
        return wording.TLS_IS_ON if self.is_secure else wording.NOT_IMPLEMENTED

    def _auth(self, argument: str) -> Event | Reply:
        if not self._facts.extended or self._facts.auth == "off":
            return wording.NOT_IMPLEMENTED
        if not self.is_extended:
            return wording.SEND_EHLO
        if self.user:
            return wording.AUTH_IS_DONE
        found = command.parse_auth(argument)
        if found is None:
            return wording.SYNTAX["AUTH"]
        if not extensions.has_auth(self._facts, secure=self.is_secure):
            return wording.NEED_TLS
        mechanism, initial = found
        if mechanism not in MECHANISMS:
            return wording.UNKNOWN_MECHANISM
        exchange = Exchange(mechanism)
        heard = exchange.begin(initial)
        if isinstance(heard, Reply) and heard.is_positive:
            self._exchange = exchange
        return heard

    def _mail(self, argument: str) -> Event | Reply:
        facts = self._facts
        mail = command.parse_mail(argument, facts.extended, self._origin, facts.auth != "off")
        if isinstance(mail, Mail) and mail.size is not None and mail.size > facts.maximum_message:
            return TOO_LARGE
        return mail

    def _rcpt(self, argument: str) -> Event | Reply:
        assert self.transaction is not None
        facts, transaction = self._facts, self.transaction
        rcpt = command.parse_rcpt(argument, facts.extended, self._origin, transaction.mail.smtputf8)
        if isinstance(rcpt, Rcpt) and len(transaction.recipients) >= facts.maximum_recipients:
            return wording.TOO_MANY_RECIPIENTS
        return rcpt

    def _data(self, argument: str) -> Event | Reply:
        return wording.SYNTAX["DATA"] if argument else Data()

    def _bdat(self, argument: str) -> Event | None:
        found = command.parse_bdat(argument)
        if found is None or not self._facts.extended:
            self._drop_chunk(argument, wording.NOT_IMPLEMENTED)
            return None
        size, is_last = found
        if not size and not is_last and (reason := self._patience.idle()) is not None:
            self._say(self._farewell(reason))
            return None
        is_first = self._chunks is None
        if self._chunks is None:
            self._chunks = Chunks(limit=self._facts.maximum_message, normalize=self._normalizes)
        if self._chunks.size + size > self._facts.maximum_message:
            # Nobody has to keep what will be refused.
            self._end_transaction()
            self._body = Unwanted(size, TOO_LARGE)
            return None
        self._body = Chunk(self._chunks, size, is_last=is_last)
        if is_first:
            return Data()
        self.state = DATA
        return None

    def _drop_chunk(self, argument: str, refusal: Reply) -> None:
        """Refuse a chunk when its octets have come, which they do all the same (RFC 3030 section 2)."""
        found = command.parse_bdat(argument)
        if found is None:
            self._hang_up(wording.BAD_CHUNK)
        else:
            self._body = Unwanted(found[0], refusal)

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
        return command.parse_vrfy(argument, extended=self._facts.extended) or wording.CANNOT_VRFY

    def _expn(self, argument: str) -> Reply:
        return wording.NOT_IMPLEMENTED

    def _help(self, argument: str) -> Reply:
        return extensions.help_text(self._facts, secure=self.is_secure)

    def _quit(self, argument: str) -> Reply:
        return wording.SYNTAX["QUIT"] if argument else wording.BYE

    def _end_transaction(self) -> None:
        self._is_abandoned = self.state is CHUNKS
        self.transaction = self._chunks = None
        if self.state is not START and self.state is not CLOSED:
            self.state = READY

    def _close(self, last_word: Reply) -> None:
        super()._close(last_word)
        self._body = self._exchange = None
        self._end_transaction()


_ACTIONS: dict[str, Callable[[Interpreter, str], Event | Reply | None]] = {
    "HELO": Interpreter._helo,
    "EHLO": Interpreter._ehlo,
    "STARTTLS": Interpreter._starttls,
    "AUTH": Interpreter._auth,
    "MAIL": Interpreter._mail,
    "RCPT": Interpreter._rcpt,
    "DATA": Interpreter._data,
    "BDAT": Interpreter._bdat,
    "RSET": Interpreter._rset,
    "NOOP": Interpreter._noop,
    "VRFY": Interpreter._vrfy,
    "EXPN": Interpreter._expn,
    "HELP": Interpreter._help,
    "QUIT": Interpreter._quit,
}
