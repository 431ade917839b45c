"""A connection: one socket to an exchanger, with the conversation machine that speaks on it.

It carries bytes, keeps the timeouts of RFC 5321 section 4.5.3.2, and measures the time from connect() to the
greeting. Refuses to know which message it carries. Every way it can fail ends in the conversation's own events.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, cast

from relayd.base.secured import Secured
from relayd.base.tls import Codec, TlsError
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.smtp.client import Conversation, Event, Order, Over, Phase, SendContent, Terms
from relayd.smtp.data import Encoder
from relayd.smtp.phase import CLOSED, CONTENT, FINAL, GREETING, HELLO, QUIT, READY, RESET, TLS
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript

# Nothing is waited for.
_AT_REST = (READY, CLOSED)
# What has a time of its own, whatever came before.
_APART = (FINAL, RESET)


@dataclass(frozen=True, slots=True)
class Manner:
    """How an exchanger is spoken to.

    `name` is what EHLO says; None: the literal of our own address on the connection (section 4.1.1.1). `terms` are
    what it has to come to; where they have TLS in them, `shake_hands` gives our side of it, or raises TlsError.
    """

    name: str | None = None
    terms: Terms = field(default_factory=Terms)
    shake_hands: Callable[[], Codec] | None = None


class Load(NamedTuple):
    """One transaction to begin. Mail data that is at hand goes as soon as the exchanger wants it."""

    order: Order
    mail_data: bytes | None = None


class Connection(asyncio.Protocol):
    """The event loop's view of one connection; used by one courier.

    `transcript` began at connect(), and has what came before the first transaction. `following` is asked, as mail
    data goes and the exchanger has been quick, for the transaction that begins along with it.
    """

    conversation: Conversation

    def __init__(self, candidate: Candidate, manner: Manner, limits: Limits, transcript: Transcript) -> None:
        self.candidate = candidate
        self.transcript = transcript
        # Seconds from connect() to the connection, and to the greeting.
        self.connect_s: float | None = None
        self.greeting_s: float | None = None
        self.codec: Codec | None = None
        # It is in the clear although the exchanger offers TLS, to which it did not come: for mail that has waited.
        self.is_fallback = False
        self._manner = manner
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        # Until when the next answer is waited for, and how many came before it. One alarm goes on from message to
        # message, and looks when it rings.
        self._due = 0.0
        self._answers = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._rings = 0.0
        # Of the transaction that began last, until the exchanger wants it.
        self._mail_data: bytes | None = None
        self.following: Callable[[], Load | None] | None = None
        # When the final dot went, and whether the answer to the one before came soon.
        self._dotted = 0.0
        self._is_quick = False
        self._writable: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        # When it must have come to MAIL, or in a transaction to the final dot, by the event loop's clock.
        self._until = self._loop.time() + limits.opening
        # Of how many transactions the exchanger may have the mail data; counted down by who has heard of an end.
        self.dots = 0

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The exchanger took the connection; its greeting comes next."""
        self._transport = cast(asyncio.Transport, transport)
        self.connect_s = self.transcript.seconds
        name = self._manner.name or _literal(transport.get_extra_info("sockname"))
        self.conversation = Conversation(name, self.transcript, self._manner.terms)

    def data_received(self, data: bytes) -> None:
        """The exchanger said something."""
        conversation = self.conversation
        before = conversation.phase
        conversation.feed(data)
        if before is FINAL and conversation.phase is not FINAL:
            self._is_quick = self._loop.time() < self._dotted + self._limits.quick
        if self.greeting_s is None and conversation.greeting is not None:
            self.greeting_s = self.transcript.seconds
        if conversation.phase is TLS:
            self._shake_hands()
        self._flush()
        if conversation.phase is CONTENT and self._mail_data is not None:
            self._send_at_hand()
        self._tell()
        if conversation.phase is CLOSED:
            self._close_after(before)

    def eof_received(self) -> bool:
        """The exchanger says no more; the connection closes."""
        return False

    def secured(self, version: str, cipher: str, *, spoke: bool) -> None:
        """All goes through TLS now; who `spoke` before we did is out of step, which is heard next."""
        resumed = ", resumed" if self.codec is not None and self.codec.was_resumed else ""
        self.conversation.secured(f"{version} {cipher}{resumed}")
        if not spoke:
            self._flush()
        self._tell()

    def insecure(self, reason: str) -> None:
        """TLS has failed."""
        phase = self.conversation.phase
        self.conversation.lose(reply(451, "4.7.5", f"TLS: {reason}"))
        self._tell()
        self._close_after(phase)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        why = f" ({exc})" if exc else ""
        phase = self.conversation.phase
        self.conversation.lose(reply(451, "4.4.2", f"lost the connection while waiting for: {phase.value}{why}"))
        self._tell()
        if self._alarm is not None:
            self._alarm.cancel()
        self.resume_writing()
        # Who waited for it may have been cancelled, and it with them.
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """The exchanger reads more slowly than we write."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Called by the courier.

    def begin(self, order: Order, mail_data: bytes | None = None) -> None:
        """Begin a transaction; only when READY. Without mail data there is a SendContent when it is wanted."""
        self._begin(order, mail_data)
        self._flush()

    def begin_nothing(self) -> None:
        """The process ends: no mail data goes by itself from here on, and no transaction follows."""
        self._mail_data = self.following = None

    @property
    def is_open(self) -> bool:
        """Whether the conversation goes on."""
        return self.conversation.phase is not CLOSED

    @property
    def tls(self) -> str:
        """The version and the cipher of its TLS, or nothing."""
        return f"{self.codec.version} {self.codec.cipher}" if self.codec and self.conversation.is_secured else ""

    async def event(self) -> Event:
        """What the conversation says next; a timeout becomes its end."""
        conversation = self.conversation
        while not conversation.news:
            if conversation.phase is CLOSED:
                return Over(reply(451, "4.4.2", "the connection is closed"))
            await self._answer()
        return conversation.news.popleft()

    async def opening(self) -> Reply | None:
        """Hear the greeting and all that comes before MAIL; a Reply when the exchanger does not come to it."""
        try:
            event = await self.event()
            # It may have said 250 to EHLO and hung up in the same breath; what ended it comes as a last event.
            while not (self.is_open or isinstance(event, Over)):
                event = await self.event()
        except BaseException:
            self.abort()
            raise
        return event.reason if isinstance(event, Over) else None

    async def is_ready(self) -> bool:
        """Whether another transaction may begin; hears the answer to a RSET first."""
        while self.conversation.phase is RESET:
            await self._answer()
        return self.conversation.phase is READY

    async def send_content(self, chunks: AsyncIterator[bytes]) -> None:
        """Send the mail data and its end; when the connection goes meanwhile, the conversation knows."""
        encoder = Encoder()
        async for chunk in chunks:
            if self.conversation.phase is not CONTENT:
                return
            await self._write(encoder.feed(chunk))
        self._finish_content(encoder.finish())

    def send_small_content(self, mail_data: bytes) -> None:
        """The same in one write, for mail data that is in memory."""
        self._finish_content(Encoder().finish(mail_data))

    def leave(self) -> "asyncio.Future[None]":
        """Say QUIT and close when it is answered or nobody answers; the future is done when the socket is gone."""
        self.conversation.quit()
        self._flush()
        # One that greets us after all is told QUIT then.
        if self.conversation.phase not in (QUIT, GREETING, HELLO):
            self._transport.close()
        # What was written and is not read would keep the socket open, closed or not.
        timer = self._loop.call_later(self._limits.replies[QUIT], self.abort)
        self._gone.add_done_callback(lambda _: timer.cancel())
        return self._gone

    def abort(self) -> None:
        """Close without a word."""
        self._transport.abort()

    def give_up(self, why: Reply) -> None:
        """Close without a word, for a reason that the conversation's last event has."""
        self.conversation.lose(why)
        self._tell()
        self._transport.abort()

    def _send_at_hand(self) -> None:
        """Send the mail data without waking who waits, unless that was cancelled and will hear of no answer."""
        if self._waiter is None or self._waiter.done():
            return
        assert self._mail_data is not None
        # Before it, the end of another transaction may wait to be heard.
        wanted = self.conversation.news.pop()
        assert isinstance(wanted, SendContent)
        self.send_small_content(self._mail_data)

    def _finish_content(self, octets: bytes) -> None:
        # What is written to a socket that closes does not go, and must leave no doubt.
        if self.conversation.phase is CONTENT and not self._transport.is_closing():
            # The conversation must know before the octets go: a connection lost from here on leaves a doubt.
            self.conversation.content_sent()
            self.dots += 1
            self._dotted = self._loop.time()
            self._mail_data = None
            self._transport.write(octets + self._follow())

    def _follow(self) -> bytes:
        """Begin the transaction that may follow: its commands, which go with the end of the mail data.

        Where an exchanger takes its time, the mail waits for a connection that is free before this one is.
        """
        conversation = self.conversation
        if self.following is None or not self._is_quick or not conversation.may_follow:
            return b""
        load = self.following()
        if load is None:
            return b""
        self._begin(*load)
        return conversation.output()

    def _begin(self, order: Order, mail_data: bytes | None) -> None:
        self._until = self._loop.time() + self._limits.transaction
        self._mail_data = mail_data
        self.conversation.begin(order)

    def _answer(self) -> "asyncio.Future[None]":
        """Done when the answers that are waited for have come to something; only while nothing has happened."""
        self._waiter = self._loop.create_future()
        self._give_time()
        return self._waiter

    def _tell(self) -> None:
        """Wake who waits when there is something to hear; else the next answer has its time from now.

        Octets that are no whole reply gain no time.
        """
        waiter, conversation = self._waiter, self.conversation
        if waiter is None:
            return
        if conversation.news or conversation.phase in _AT_REST:
            self._waiter = None
            # Who waited may have been cancelled.
            if not waiter.done():
                waiter.set_result(None)
        elif conversation.answers != self._answers:
            self._give_time()

    def _give_time(self) -> None:
        """The next answer has its time from now."""
        self._answers = self.conversation.answers
        self._due = self._deadline(self.conversation.phase)
        if self._alarm is None or self._due < self._rings:
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings = self._due
        self._alarm = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due:
            self._set_alarm()
        else:
            self._time_out(self.conversation.phase)

    def _deadline(self, phase: Phase) -> float:
        """Each answer has its time, and all together have theirs; the one to the final dot would leave a doubt."""
        due = self._loop.time() + self._limits.replies[phase]
        return self._until if due > self._until and phase not in _APART else due

    async def _write(self, octets: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(octets)
        if self._writable is not None:
            timer = self._loop.call_at(self._deadline(CONTENT), self._time_out, CONTENT)
            try:
                await self._writable
            finally:
                timer.cancel()

    def _shake_hands(self) -> None:
        """From here on there is TLS between the socket and this."""
        assert self._manner.shake_hands is not None
        try:
            self.codec = self._manner.shake_hands()
        except TlsError as error:
            self.conversation.lose(reply(451, "4.7.5", f"TLS: {error}"))
            return
        secured = Secured(self._transport, self, self.codec)
        self._transport.set_protocol(secured)
        self._transport = secured
        secured.begin()

    def _close_after(self, phase: Phase) -> None:
        """Close; the phase is what was waited for."""
        # Mail data that waits to be written would keep the socket open, and nobody wants it any more.
        if phase is CONTENT:
            self._transport.abort()
        else:
            self._transport.close()

    def _flush(self) -> None:
        commands = self.conversation.output()
        if commands and not self._transport.is_closing():
            self._transport.write(commands)

    def _time_out(self, phase: Phase) -> None:
        self.give_up(reply(451, "4.4.2", f"timeout while waiting for: {phase.value}"))


def _literal(name: tuple[object, ...]) -> str:
    address = ip_address(str(name[0]).partition("%")[0])
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"
