"""A conversation: the client's side of one SMTP dialogue as a state machine (RFC 5321 sections 3 and 4).

Replies go in by `feed`, commands come out of `output`, and `next_event` says what happened: the server is
ready, it wants the mail data, a transaction ended, the conversation is over. While `phase` is TLS, whoever has
the connection shakes hands, and says so by `secured`. Commands are pipelined when the server offers PIPELINING
(RFC 2920), those of the next transaction behind the mail data of the one before. Each reply answers the first
command sent that has none yet, and its first digit decides (section 4.3.2). A reply that answers nothing ends the
conversation: once that is out of step, a 250 may be about anything.

Refuses to know sockets, clocks and queues; `phase` says what is waited for, and `TIMEOUTS` how long. A server
that does not keep to the protocol ends the conversation with a reply that says so; nothing it says raises.
"""

from collections import deque
from collections.abc import Callable

from relayd.smtp.client_commands import Commands
from relayd.smtp.client_opening import Opened, Opening, Refused, Say, ShakeHands, Step
from relayd.smtp.client_opening import Terms as Terms
from relayd.smtp.order import NotAnOrder as NotAnOrder
from relayd.smtp.order import Order as Order
from relayd.smtp.order import Wish as Wish
from relayd.smtp.phase import (
    AUTH,
    CLOSED,
    CONTENT,
    DATA,
    FINAL,
    GREETING,
    HELLO,
    MAIL,
    QUIT,
    RCPT,
    READY,
    RESET,
    STARTTLS,
    TLS,
)
from relayd.smtp.phase import TIMEOUTS as TIMEOUTS
from relayd.smtp.phase import Phase as Phase
from relayd.smtp.progress import Event as Event
from relayd.smtp.progress import Finished as Finished
from relayd.smtp.progress import Over as Over
from relayd.smtp.progress import Ready as Ready
from relayd.smtp.progress import SendContent as SendContent
from relayd.smtp.reply import NotAReply, Parser, Reply, reply
from relayd.smtp.transaction import Result as Result
from relayd.smtp.transaction import Transaction
from relayd.smtp.transcript import Transcript


class Conversation:
    """One connection's dialogue, from the greeting to QUIT, through any number of transactions.

    `name` is what EHLO says; `transcript` is told all that is said before the first transaction, but for
    credentials; each of these has its own, which begins with that. `terms` are what the server has to come to
    before it is ready.
    """

    def __init__(self, name: str, transcript: Transcript | None = None, terms: Terms | None = None) -> None:
        terms = terms or Terms()
        self._opening = Opening(name, terms)
        self._credentials = terms.credentials
        # Where what is heard goes, and what is said.
        self.transcript = transcript or Transcript()
        self._parser = Parser()
        self._commands = Commands()
        self._transaction: Transaction | None = None
        # The one behind it, which has begun before the final reply to the first.
        self._following: Transaction | None = None
        # What is waited for now, and what is when no reply is due any more.
        self.phase = GREETING
        self._idle = READY
        # What has happened and nobody has heard of by `next_event`.
        self.news: deque[Event] = deque()
        # The keywords of its last reply to EHLO, with their parameters; in TLS, those it said in TLS.
        self.extensions: dict[str, str] = {}
        self._pipelines = False
        # In TLS it has said nothing yet; what it says first shows that TLS works, whatever that is.
        self._is_silent_in_tls = False
        # The server offers TLS and did not come to it: it refused, broke the handshake, or went.
        self.has_failed_tls = False
        # How many commands were answered so far; a 421 answers none, it ends the service.
        self.answers = 0

    # What the connection calls.

    @property
    def greeting(self) -> Reply | None:
        """The server's 220."""
        return self._opening.greeting

    @property
    def is_secured(self) -> bool:
        """Whether all that is said now goes through TLS."""
        return self._opening.is_secured

    @property
    def taken(self) -> tuple[int, ...]:
        """The places of the forward-paths that the server took in the transaction under way."""
        return () if self._transaction is None else self._transaction.taken

    def feed(self, data: bytes) -> None:
        """Add what the server sent."""
        phase = self.phase
        if phase is CLOSED:
            return
        if phase is TLS:
            self.lose(_INJECTED)
            return
        if data:
            self._is_silent_in_tls = False
        credentials, at = self._credentials, self.transcript.seconds
        try:
            for answer in self._parser.read(data):
                if credentials is not None:
                    answer = credentials.masked(answer)
                self.transcript.heard(answer, at)
                self._hear(answer)
                if self.phase is CLOSED:
                    return
        except NotAReply as error:
            # What is none may be our credentials, in part.
            words = error if credentials is None else error.how
            self.lose(reply(451, "4.5.0", f"protocol error: {words}"))

    def next_event(self) -> Event | None:
        """What happened next, or None."""
        return self.news.popleft() if self.news else None

    def output(self) -> bytes:
        """Take the commands written since the last call; they are on their way from then on."""
        if not self._commands.octets:
            return b""
        commands, shown = self._commands.take()
        # Behind the mail data nothing is said but what begins the next one.
        (self.transcript if self._following is None else self._following.transcript).said(shown)
        return commands

    def secured(self, words: str) -> None:
        """The handshake is done; the words say how, for the transcript. Only while TLS."""
        assert self.phase is TLS
        self.transcript.noted(words)
        self._is_silent_in_tls = True
        self._idle = READY
        self.answers += 1
        self._take(self._opening.secure())

    @property
    def may_follow(self) -> bool:
        """Whether another transaction may begin behind this one, whose mail data is on its way.

        RFC 2920 section 3.1: the commands that begin it may be in one group with the end of the mail data.
        """
        has_gone = self.phase is FINAL and not self._commands.octets
        return has_gone and self._pipelines and self._following is None

    def begin(self, order: Order) -> None:
        """Start a transaction; only while READY, or when it `may_follow`."""
        transaction = Transaction(order, self.transcript.transaction())
        if self._transaction is None:
            assert self.phase is READY
            self._transaction, self.transcript = transaction, transaction.transcript
            self._idle = CONTENT
            self.phase = MAIL
        else:
            assert self.may_follow
            transaction.is_behind = True
            self._following = transaction
        if self._pipelines:
            lines = order.mail(self.extensions), *order.rcpts(self.extensions), "DATA"
            phases = (MAIL, *[RCPT] * len(order.forward_paths), DATA)
            self._commands.say_at_once(phases, lines)
        else:
            self._commands.say(MAIL, order.mail(self.extensions))

    def content_sent(self) -> None:
        """The mail data and its end are on their way: the final reply is what is left.

        To be called before the last octets go, so that a connection lost with them leaves a doubt.
        """
        if self.phase is not CLOSED:
            assert self.phase is CONTENT
            self.transcript.said(b"[mail data and its end]\r\n")
            self._commands.expect(FINAL)
            self.phase = FINAL

    def quit(self) -> None:
        """Say QUIT when READY, or once the greeting or the reply to EHLO has come; else it cannot be said."""
        if self.phase is READY:
            self._say(QUIT, "QUIT")
        elif self.phase in (GREETING, HELLO):
            self._opening.is_leaving = True

    def lose(self, reason: Reply) -> None:
        """The connection is gone or given up, for `reason`, which is not positive."""
        if self.phase is not CLOSED:
            self.transcript.ended(reason)
            self._end(reason)

    def _end(self, reason: Reply) -> None:
        phase = self.phase
        # In TLS 1.3 a server may refuse us when we are done with the handshake: it goes and does not answer EHLO.
        is_late = phase is HELLO and self._is_silent_in_tls
        self.has_failed_tls = is_late or phase in (STARTTLS, TLS)
        self._close()
        if self._transaction is None:
            self.news.append(Over(reason))
        else:
            self._finish(reason, in_doubt=phase is FINAL)
            self._finish_following(reason)

    def _say(self, phase: Phase, line: str, shown: str = "") -> None:
        self._commands.say(phase, line, shown)
        self.phase = self._commands.due or self._idle

    # Replies, each to the command it answers.

    def _hear(self, answer: Reply) -> None:
        phase, code = self.phase, answer.code
        if not self._commands.awaited:
            self._hear_unasked(answer)
        elif code == 421 and phase is not FINAL:
            # Section 3.8: a server that goes may say so at any time. After the final dot it is an answer as any.
            self._end(answer)
        elif code < 400 and code // 100 not in _SUCCESS[phase]:
            self.lose(reply(451, "4.5.0", f"protocol error: no {phase.value}: {answer}"))
        else:
            self.answers += 1
            self.phase = self._commands.answered() or self._idle
            hear = _HEARERS.get(phase)
            if hear is not None:
                hear(self, answer)
            else:
                self._hear_opening(phase, answer)

    def _hear_unasked(self, answer: Reply) -> None:
        """Nothing that was sent waits for a reply. A refusal of the mail data may come before its end."""
        if self.phase is TLS:
            self.lose(_INJECTED)
        elif answer.code == 421 or (self.phase is CONTENT and not answer.is_positive):
            self._end(answer)
        else:
            self.lose(reply(451, "4.5.0", f"protocol error: a reply to nothing: {answer}"))

    def _hear_opening(self, phase: Phase, answer: Reply) -> None:
        step = self._opening.hear(phase, answer)
        self.has_failed_tls = phase is STARTTLS and isinstance(step, Refused)
        self._take(step)

    def _take(self, step: Step) -> None:
        self.extensions = self._opening.extensions
        self._pipelines = "PIPELINING" in self.extensions
        match step:
            case Say():
                self._say(step.phase, step.line, step.shown)
            case ShakeHands():
                self._idle = self.phase = TLS
                if not self._parser.is_between:
                    # Whoever writes into the line in the clear would be heard as if it were the server in TLS.
                    self.lose(_INJECTED)
            case Opened():
                assert self.greeting is not None
                self.news.append(Ready(self.greeting, frozenset(self.extensions)))
            case Refused():
                # It is told QUIT (section 3.1) and not waited for.
                self._close("QUIT")
                self.news.append(Over(step.reason))

    def _hear_mail(self, answer: Reply) -> None:
        transaction = self._under_way
        if transaction.is_behind and answer.code in _NOT_UNDERSTOOD:
            # It has lost some of what came with the mail data: that says nothing of this one, nor what comes next.
            self.lose(reply(451, "4.5.0", f"protocol error: behind mail data: {answer}"))
            return
        transaction.mail = answer
        if self._pipelines:
            return
        if answer.is_positive:
            self._next_rcpt()
        else:
            self._give_up()

    def _hear_rcpt(self, answer: Reply) -> None:
        self._under_way.hear_rcpt(answer)
        if not self._pipelines:
            self._next_rcpt()

    def _next_rcpt(self) -> None:
        place = self._under_way.next_place
        if place is not None:
            self._say(RCPT, self._under_way.order.rcpt(place, self.extensions))
        elif self._under_way.has_recipient:
            self._say(DATA, "DATA")
        else:
            self._give_up()

    def _hear_data(self, answer: Reply) -> None:
        transaction = self._under_way
        transaction.data = answer
        if not answer.is_positive:
            self._give_up()
        elif not transaction.has_recipient:
            # RFC 2920 section 3.1: a server that says 354 although no recipient stands gets an empty message,
            # which nobody receives.
            self._say(FINAL, ".")
        elif transaction.mail is not None and transaction.mail.is_positive:
            self.news.append(_SEND_CONTENT)
        else:
            # It refused MAIL and took a recipient all the same, who must not get an empty message.
            self.lose(reply(451, "4.5.0", f"protocol error: {answer} without MAIL"))

    def _hear_final(self, answer: Reply) -> None:
        if answer.code == 421:
            self._close()
        else:
            self._under_way.is_answered = True
        self._finish(answer)
        if answer.code == 421:
            self._finish_following(answer)

    def _hear_reset(self, answer: Reply) -> None:
        if not answer.is_positive:
            self._end(answer)

    def _hear_quit(self, answer: Reply) -> None:
        self._end(_ENDED)

    def _give_up(self) -> None:
        """No mail data will go. RSET leaves nothing of MAIL and RCPT behind for the next transaction."""
        self._commands.say(RESET, "RSET")
        self._finish(_ENDED)

    def _finish(self, last: Reply, *, in_doubt: bool = False) -> None:
        transaction = self._under_way
        self._transaction, self._following = self._following, None
        if self._transaction is not None:
            self.transcript = self._transaction.transcript
        if self.phase is not CLOSED:
            self._idle = READY if self._transaction is None else CONTENT
            self.phase = self._commands.due or READY
        if self.news and _SEND_CONTENT in self.news:
            # The server took its 354 back before anybody heard of it.
            self.news.remove(_SEND_CONTENT)
        self.news.append(Finished(transaction.result(last, in_doubt=in_doubt), transaction.transcript))

    def _finish_following(self, reason: Reply) -> None:
        """The conversation has ended, and with it what had begun behind the mail data."""
        if self._transaction is not None:
            self.transcript.ended(reason)
            self._finish(reason)

    @property
    def _under_way(self) -> Transaction:
        assert self._transaction is not None
        return self._transaction

    def _close(self, last: str = "") -> None:
        self._commands.end(last)
        self._idle = self.phase = CLOSED


# The first digits of a reply that is no refusal.
_SUCCESS: dict[Phase, tuple[int, ...]] = dict.fromkeys(Phase, (2,)) | {DATA: (3,), AUTH: (2, 3)}
_HEARERS: dict[Phase, Callable[[Conversation, Reply], None]] = {
    MAIL: Conversation._hear_mail,
    RCPT: Conversation._hear_rcpt,
    DATA: Conversation._hear_data,
    FINAL: Conversation._hear_final,
    RESET: Conversation._hear_reset,
    QUIT: Conversation._hear_quit,
}

# What a server says to the second half of a command, and to one whose first ones it has not seen (section 4.2.2).
_NOT_UNDERSTOOD = (500, 502, 503)
_SEND_CONTENT = SendContent()
_INJECTED = reply(451, "4.7.5", "protocol error: more in the clear behind the reply to STARTTLS")
_ENDED = reply(451, "4.4.2", "the conversation has ended")
