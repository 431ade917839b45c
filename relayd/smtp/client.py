"""A conversation: the client's side of one SMTP dialogue as a state machine (RFC 5321 sections 3 and 4).

Replies go in by `feed`, commands come out of `output`, and `next_event` says what happened: the server is
ready, it wants the mail data, a transaction ended, the conversation is over. Commands are pipelined when the
server offers PIPELINING (RFC 2920). Each reply answers the first command sent that has none yet, and its first
digit decides (section 4.3.2). A reply that answers nothing ends the conversation: once that is out of step, a 250
may be about anything.

Refuses to know sockets, clocks and queues; `phase` says what is waited for, and `TIMEOUTS` how long. A server
that does not keep to the protocol ends the conversation with a reply that says so; nothing it says raises.
"""

from collections import deque
from collections.abc import Callable

from relayd.smtp.order import NotAnOrder as NotAnOrder
from relayd.smtp.order import Order as Order
from relayd.smtp.order import Wish as Wish
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

    `name` is what EHLO says; `transcript` is told all that is said.
    """

    def __init__(self, name: str, transcript: Transcript | None = None) -> None:
        self._name = name
        self._transcript = transcript or Transcript()
        self._parser = Parser()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        # What replies are due to, in order; the last `_unsent` of them are still in `_output`.
        self._awaited: deque[Phase] = deque([Phase.GREETING])
        self._unsent = 0
        self._said_ehlo = False
        self._transaction: Transaction | None = None
        self._closed = False
        self.greeting: Reply | None = None
        self.extensions: dict[str, str] = {}
        # How many commands were answered so far; a 421 answers none, it ends the service.
        self.answers = 0

    # What the connection calls.

    @property
    def phase(self) -> Phase:
        """What is waited for now."""
        if self._closed:
            return Phase.CLOSED
        if self._awaited:
            return self._awaited[0]
        return Phase.CONTENT if self._transaction is not None else Phase.READY

    def feed(self, data: bytes) -> None:
        """Add what the server sent."""
        if self._closed:
            return
        self._parser.feed(data)
        try:
            while not self._closed and (answer := self._parser.next()) is not None:
                self._transcript.heard(answer)
                self._hear(answer)
        except NotAReply as error:
            self.lose(reply(451, "4.5.0", f"protocol error: {error}"))

    def next_event(self) -> Event | None:
        """What happened next, or None."""
        return self._events.popleft() if self._events else None

    def output(self) -> bytes:
        """Take the commands written since the last call; they are on their way from then on."""
        commands, self._output, self._unsent = b"".join(self._output), [], 0
        if commands:
            self._transcript.said(commands)
        return commands

    def begin(self, order: Order) -> None:
        """Start a transaction; only while READY."""
        assert self.phase is Phase.READY
        self._transaction = Transaction(order)
        self._command(Phase.MAIL, order.mail(self.extensions))
        if self._pipelines:
            for place in range(len(order.forward_paths)):
                self._command(Phase.RCPT, order.rcpt(place, self.extensions))
            self._command(Phase.DATA, "DATA")

    def content_sent(self) -> None:
        """The mail data and its end are on their way: the final reply is what is left.

        To be called before the last octets go, so that a connection lost with them leaves a doubt.
        """
        if not self._closed:
            assert self.phase is Phase.CONTENT
            self._transcript.said(b"[mail data and its end]\r\n")
            self._awaited.append(Phase.FINAL)

    def quit(self) -> None:
        """Say QUIT; only while READY."""
        if self.phase is Phase.READY:
            self._command(Phase.QUIT, "QUIT")

    def lose(self, reason: Reply) -> None:
        """The connection is gone or given up, for `reason`, which is not positive."""
        if self._closed:
            return
        self._transcript.ended(reason)
        self._end(reason)

    def _end(self, reason: Reply) -> None:
        in_doubt = self.phase is Phase.FINAL
        self._close()
        if self._transaction is None:
            self._events.append(Over(reason))
        else:
            self._finish(reason, in_doubt=in_doubt)

    # Replies, each to the command it answers.

    @property
    def _pipelines(self) -> bool:
        return "PIPELINING" in self.extensions

    def _hear(self, answer: Reply) -> None:
        phase = self.phase
        if answer.code == 421 and phase is not Phase.FINAL:
            # Section 3.8: a server that goes may say so at any time. After the final dot it is an answer as any.
            self._end(answer)
        elif len(self._awaited) == self._unsent:
            self._hear_unasked(answer)
        elif answer.is_positive and answer.code // 100 != (3 if phase is Phase.DATA else 2):
            self.lose(reply(451, "4.5.0", f"protocol error: no {phase.value}: {answer}"))
        else:
            self._awaited.popleft()
            self.answers += 1
            _HEARERS[phase](self, answer)

    def _hear_unasked(self, answer: Reply) -> None:
        """Nothing that was sent waits for a reply. A refusal of the mail data may come before its end."""
        if self.phase is Phase.CONTENT and not answer.is_positive:
            self._end(answer)
        else:
            self.lose(reply(451, "4.5.0", f"protocol error: a reply to nothing: {answer}"))

    def _hear_greeting(self, answer: Reply) -> None:
        if answer.is_positive:
            self.greeting = answer
            self._said_ehlo = True
            self._command(Phase.HELLO, f"EHLO {self._name}")
        else:
            self._say_quit_and_leave(answer)

    def _hear_hello(self, answer: Reply) -> None:
        assert self.greeting is not None
        if answer.is_positive:
            if self._said_ehlo:
                self.extensions = _extensions(answer)
            self._events.append(Ready(self.greeting, frozenset(self.extensions)))
        elif self._said_ehlo and answer.is_permanent:
            # Section 3.2: a server that does not know EHLO is spoken to with HELO.
            self._said_ehlo = False
            self._command(Phase.HELLO, f"HELO {self._name}")
        else:
            self._say_quit_and_leave(answer)

    def _hear_mail(self, answer: Reply) -> None:
        self._under_way.mail = answer
        if self._pipelines:
            return
        if answer.is_positive:
            self._next_rcpt()
        else:
            self._give_up()

    def _hear_rcpt(self, answer: Reply) -> None:
        self._under_way.recipients.append(answer)
        if not self._pipelines:
            self._next_rcpt()

    def _next_rcpt(self) -> None:
        place = self._under_way.next_place
        if place is not None:
            self._command(Phase.RCPT, self._under_way.order.rcpt(place, self.extensions))
        elif self._under_way.has_recipient:
            self._command(Phase.DATA, "DATA")
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
            self._send(Phase.FINAL, b".\r\n")
        elif transaction.mail is not None and transaction.mail.is_positive:
            self._events.append(SendContent())
        else:
            # It refused MAIL and took a recipient all the same, who must not get an empty message.
            self.lose(reply(451, "4.5.0", f"protocol error: {answer} without MAIL"))

    def _hear_final(self, answer: Reply) -> None:
        if answer.code == 421:
            self._close()
        self._finish(answer)

    def _hear_reset(self, answer: Reply) -> None:
        if not answer.is_positive:
            self._end(answer)

    def _hear_quit(self, answer: Reply) -> None:
        self._end(_ENDED)

    def _give_up(self) -> None:
        """No mail data will go. RSET leaves nothing of MAIL and RCPT behind for the next transaction."""
        self._command(Phase.RESET, "RSET")
        self._finish(_ENDED)

    def _finish(self, last: Reply, *, in_doubt: bool = False) -> None:
        result = self._under_way.result(last, in_doubt=in_doubt)
        self._transaction = None
        if SendContent() in self._events:
            # The server took its 354 back before anybody heard of it.
            self._events.remove(SendContent())
        self._events.append(Finished(result))

    @property
    def _under_way(self) -> Transaction:
        assert self._transaction is not None
        return self._transaction

    # Commands.

    def _command(self, phase: Phase, line: str) -> None:
        self._send(phase, line.encode() + b"\r\n")

    def _send(self, phase: Phase, octets: bytes) -> None:
        self._output.append(octets)
        self._awaited.append(phase)
        self._unsent += 1

    def _close(self) -> None:
        self._closed = True
        self._awaited.clear()
        self._output.clear()

    def _say_quit_and_leave(self, reason: Reply) -> None:
        """A server that refuses us at the start is told QUIT (section 3.1) and not waited for."""
        self._close()
        self._output.append(b"QUIT\r\n")
        self._events.append(Over(reason))


_HEARERS: dict[Phase, Callable[[Conversation, Reply], None]] = {
    Phase.GREETING: Conversation._hear_greeting,
    Phase.HELLO: Conversation._hear_hello,
    Phase.MAIL: Conversation._hear_mail,
    Phase.RCPT: Conversation._hear_rcpt,
    Phase.DATA: Conversation._hear_data,
    Phase.FINAL: Conversation._hear_final,
    Phase.RESET: Conversation._hear_reset,
    Phase.QUIT: Conversation._hear_quit,
}

_ENDED = reply(451, "4.4.2", "the conversation has ended")


def _extensions(answer: Reply) -> dict[str, str]:
    """The keywords of an EHLO reply and their parameters (section 4.1.1.1); the first line is the greeting."""
    found: dict[str, str] = {}
    for line in answer.lines[1:]:
        keyword, _, parameters = line.partition(" ")
        found[keyword.upper()] = parameters
    return found
