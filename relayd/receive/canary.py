"""The canary: a worker's session with itself over a socket pair, before any client comes in.

It is a real one, from the greeting to a recipient that policy refuses, once for each kind of listener, in TLS
where that is offered. So a configuration or a program that cannot serve is found while others still do. It leaves
nothing behind: no count, no line in the log but a bug's. Raises CanaryError with the word that was not expected.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address

from relayd.base import tls
from relayd.base.counters import SLOT, Slot
from relayd.base.events import Event
from relayd.base.log import Log
from relayd.base.sections import Listener
from relayd.receive.connection import Connection
from relayd.receive.door import Door, Refusal
from relayd.receive.entrance import Introduced
from relayd.receive.policy import Peer
from relayd.receive.record import Record
from relayd.receive.service import Served, Service
from relayd.smtp.census import Census
from relayd.spool.errors import SpoolError
from relayd.spool.intake import Draft

_TIMEOUT_SECONDS = 10.0
# No client can have this address, nor a network that may relay contain it alone.
_NOBODY = Peer.of(ip_address("::"), 0, may_relay=False)
_LONGEST = 4096


class CanaryError(Exception):
    """The worker could not serve itself."""


async def rehearse(service: Service, listeners: list[Listener]) -> None:
    """Play a session for each kind of listener."""
    for listener in {(each.tls, each.auth): each for each in listeners}.values():
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await _play(_Stage(service), listener)
        except TimeoutError:
            raise CanaryError(f"its session with itself took longer than {_TIMEOUT_SECONDS:.0f} s") from None
        except (OSError, EOFError, ssl.SSLError) as error:
            why = str(error) or "it was cut off"
            raise CanaryError(f"its session with itself failed ({listener.tls}): {why}") from None


async def _play(stage: "_Stage", listener: Listener) -> None:
    near, far = socket.socketpair()
    introduced = Introduced(_NOBODY, None, False)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        await stage.loop.connect_accepted_socket(lambda: Connection(stage, listener, introduced), far)
        client = await _Client.of(near, implicit=listener.tls == "implicit")
        try:
            await _speak(client, stage, listener)
        finally:
            client.close()
        # The far end notices, and closes what it has.
        await stage.ended


async def _speak(client: "_Client", stage: "_Stage", listener: Listener) -> None:
    await client.expect("the greeting", 220)
    hello = "EHLO" if stage.config.session.extended else "HELO"
    offered = await client.say(f"{hello} canary.invalid", 250)
    if "STARTTLS" in offered:
        await client.say("STARTTLS", 220)
        await client.encrypt()
        await client.say(f"{hello} canary.invalid", 250)
    # Without a password nobody sends there; and a full disk is nothing that a session could mend.
    taken = await client.say("MAIL FROM:<>", 530 if listener.auth == "required" else 250, 451, 452)
    if taken.startswith("250"):
        await client.say("RCPT TO:<nobody@canary.invalid>", 554)
    await client.say("QUIT", 221)


class _Client:
    """The end that plays the client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, near: socket.socket, *, implicit: bool) -> "_Client":
        context = tls.client_context(verify=False) if implicit else None
        name = "localhost" if implicit else None
        return cls(*await asyncio.open_unix_connection(sock=near, ssl=context, server_hostname=name))

    async def encrypt(self) -> None:
        await self._writer.start_tls(tls.client_context(verify=False), server_hostname="localhost")

    async def say(self, command: str, *expected: int) -> str:
        self._writer.write(f"{command}\r\n".encode("ascii"))
        return await self.expect(command, *expected)

    async def expect(self, what: str, *expected: int) -> str:
        reply = ""
        while not _is_whole(reply):
            line = await self._reader.readline()
            if not line:
                raise EOFError(f"{what} was answered by closing")
            reply += line.decode("ascii", "backslashreplace")
            if len(reply) > _LONGEST:
                raise EOFError(f"{what} was answered without end")
        if reply[:3] not in map(str, expected):
            raise CanaryError(f"its session with itself: {what} was answered {' '.join(reply.split())}")
        return reply

    def close(self) -> None:
        self._writer.close()


def _is_whole(reply: str) -> bool:
    """Whether its last line has come (RFC 5321 section 4.2.1)."""
    return reply.endswith("\n") and reply.splitlines()[-1][3:4] != "-"


class _Stage:
    """A service that is the worker's in everything that serves, and forgets whom it served."""

    def __init__(self, service: Service) -> None:
        self.config = service.config
        self.version = service.version
        self.loop = service.loop
        self.ids = service.ids
        self.policy = service.policy
        self.intake = service.intake
        self.record: Record = _Quiet(service.record)
        self.census = Census()
        self.door: Door = _OpenDoor()
        self.guard = service.guard
        self.authenticator = service.authenticator
        self.tls = service.tls
        self.is_retiring = False
        self.open_sessions = 0
        self.ended: asyncio.Future[None] = self.loop.create_future()

    def opened(self, session: Served) -> int:
        """It began."""
        return 1

    def closed(self, session: Served) -> int:
        """It is over."""
        if not self.ended.done():
            self.ended.set_result(None)
        return 0

    def in_thread(self, work: Callable[[], None], done: Callable[[object], None]) -> None:
        """Nothing of it comes so far."""
        raise NotImplementedError

    def commit(self, draft: Draft, done: Callable[[object], None]) -> None:
        """Nothing of it comes so far."""
        raise NotImplementedError

    def spool_trouble(self, error: Exception) -> SpoolError:
        """The worker meets it again with its first client, and tells then."""
        if isinstance(error, SpoolError):
            return error
        raise error


class _Quiet(Record):
    """It writes down nothing but bugs."""

    def __init__(self, of: Record) -> None:
        super().__init__(Slot(memoryview(bytearray(SLOT)).cast("Q")), _Nowhere(), lambda: 0.0)
        self._of = of

    def bug(self, where: str, error: BaseException, session: str = "") -> None:
        """This one has to be known."""
        self._of.bug(where, error, session)


class _Nowhere(Log):
    """A log without lines."""

    def __init__(self) -> None:
        pass

    def write(self, event: Event) -> None:
        pass


class _OpenDoor(Door):
    """Whoever is in the house already is no client: neither counted nor turned away."""

    def __init__(self) -> None:
        pass

    def refusal(self, peer: Peer, open_sessions: int) -> Refusal | None:
        return None

    def opened(self, peer: Peer, now: float) -> None:
        pass

    def closed(self, peer: Peer) -> None:
        pass
