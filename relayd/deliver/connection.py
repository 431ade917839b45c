"""A connection: one socket to an exchanger, with the conversation machine that speaks on it.

It carries bytes, keeps the timeouts of RFC 5321 section 4.5.3.2, and measures the time from connect() to the
greeting. Refuses to know which message it carries. Every way it can fail ends in the conversation's own events.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address
from typing import cast

from relayd.deliver.exchangers import IP, Candidate
from relayd.deliver.limits import Limits
from relayd.smtp.client import Conversation, Event, Over, Phase
from relayd.smtp.data import Encoder
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript


class Connection(asyncio.Protocol):
    """The event loop's view of one connection; used by one courier.

    `name` is what EHLO says; None: the literal of our own address on this connection (section 4.1.1.1).
    `transcript` began at connect().
    """

    conversation: Conversation

    def __init__(self, candidate: Candidate, name: str | None, limits: Limits, transcript: Transcript) -> None:
        self.candidate = candidate
        self.transcript = transcript
        self.greeting_s: float | None = None
        self._name = name
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        # Whether the exchanger may have the mail data of this transaction; reset by who has heard of its end.
        self.has_sent_the_dot = False

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The exchanger took the connection; its greeting comes next."""
        self._transport = cast(asyncio.Transport, transport)
        name = self._name or _literal(transport.get_extra_info("sockname"))
        self.conversation = Conversation(name, self.transcript)

    def data_received(self, data: bytes) -> None:
        """The exchanger said something."""
        phase = self.conversation.phase
        self.conversation.feed(data)
        if self.greeting_s is None and self.conversation.greeting is not None:
            self.greeting_s = self.transcript.seconds
        self._flush()
        self._wake()
        if not self.is_open:
            # Mail data that waits to be written would keep the socket open, and nobody wants it any more.
            if phase is Phase.CONTENT:
                self._transport.abort()
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        why = f" ({exc})" if exc else ""
        phase = self.conversation.phase
        self.conversation.lose(reply(451, "4.4.2", f"lost the connection while waiting for: {phase.value}{why}"))
        self._wake()
        self.resume_writing()
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

    @property
    def is_open(self) -> bool:
        """Whether the conversation goes on."""
        return self.conversation.phase is not Phase.CLOSED

    async def event(self) -> Event:
        """What the conversation says next; a timeout becomes its end."""
        while (event := self.conversation.next_event()) is None:
            if not self.is_open:
                return Over(reply(451, "4.4.2", "the connection is closed"))
            await self._answer()
        return event

    async def is_ready(self) -> bool:
        """Whether another transaction may begin; hears the answer to a RSET first."""
        while self.conversation.phase is Phase.RESET:
            await self._answer()
        return self.conversation.phase is Phase.READY

    async def send_content(self, chunks: AsyncIterator[bytes]) -> None:
        """Send the mail data and its end; when the connection goes meanwhile, the conversation knows."""
        encoder = Encoder()
        async for chunk in chunks:
            if self.conversation.phase is not Phase.CONTENT:
                return
            await self._write(encoder.feed(chunk))
        self._finish_content(encoder.finish())

    def send_small_content(self, mail_data: bytes) -> None:
        """The same in one write, for mail data that is in memory."""
        encoder = Encoder()
        self._finish_content(encoder.feed(mail_data) + encoder.finish())

    def leave(self) -> "asyncio.Future[None]":
        """Say QUIT and close when it is answered or nobody answers; the future is done when the socket is gone."""
        self.conversation.quit()
        self._flush()
        if self.conversation.phase is Phase.QUIT:
            timer = self._loop.call_later(self._limits.replies[Phase.QUIT], self.abort)
            self._gone.add_done_callback(lambda _: timer.cancel())
        else:
            self._transport.close()
        return self._gone

    def abort(self) -> None:
        """Close without a word."""
        self._transport.abort()

    def give_up(self, why: Reply) -> None:
        """Close without a word, for a reason that the conversation's last event has."""
        self.conversation.lose(why)
        self._wake()
        self._transport.abort()

    def _finish_content(self, octets: bytes) -> None:
        if self.conversation.phase is Phase.CONTENT:
            # The conversation must know before the octets go: a connection lost from here on leaves a doubt.
            self.conversation.content_sent()
            self.has_sent_the_dot = True
            self._transport.write(octets)

    async def _answer(self) -> None:
        """Wait until what is waited for has come, or is another. Octets that are no whole reply gain no time."""
        self._flush()
        awaited = self._awaited()
        timer = self._loop.call_later(self._limits.replies[awaited[0]], self._time_out, awaited[0])
        try:
            while self._awaited() == awaited:
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _awaited(self) -> tuple[Phase, int]:
        return self.conversation.phase, self.conversation.answers

    async def _write(self, octets: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(octets)
        if self._writable is not None:
            timer = self._loop.call_later(self._limits.replies[Phase.CONTENT], self._time_out, Phase.CONTENT)
            try:
                await self._writable
            finally:
                timer.cancel()

    def _flush(self) -> None:
        commands = self.conversation.output()
        if commands and not self._transport.is_closing():
            self._transport.write(commands)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _time_out(self, phase: Phase) -> None:
        self.give_up(reply(451, "4.4.2", f"timeout while waiting for: {phase.value}"))


async def connect(
    candidate: Candidate,
    name: str | None,
    source: IP | None = None,
    *,
    limits: Limits,
    transcript: Transcript | None = None,
) -> Connection | Reply:
    """Connect to a candidate; a Reply says why not. `transcript`, which begins now, has it in either case."""
    transcript = transcript or Transcript(time.monotonic)
    connected = await _connect(candidate, name, source, limits, transcript)
    if isinstance(connected, Reply):
        transcript.ended(connected)
    return connected


async def _connect(
    candidate: Candidate, name: str | None, source: IP | None, limits: Limits, transcript: Transcript
) -> Connection | Reply:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.connect):
            _, connection = await loop.create_connection(
                lambda: Connection(candidate, name, limits, transcript),
                str(candidate.address),
                candidate.port,
                local_addr=None if source is None else (str(source), 0),
            )
    except TimeoutError:
        return reply(451, "4.4.1", f"connect to {candidate}: timeout")
    except OSError as error:
        # The event loop puts words of its own into strerror, which do not say why.
        why = os.strerror(error.errno) if error.errno else str(error)
        return reply(451, "4.4.1", f"connect to {candidate}: {why}")
    return connection


def _literal(name: tuple[object, ...]) -> str:
    address = ip_address(str(name[0]).partition("%")[0])
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"
