"""The process of metrics: listens, has the spool looked at, and answers. See the package.

It exits CANNOT_BOOT with the reason when it cannot listen. Whatever else goes wrong concerns one answer.
"""

import asyncio
import contextlib
import errno
import os
import socket
import time
import traceback
from functools import partial

from relayd import __version__
from relayd.base import events
from relayd.base.channel import CANNOT_BOOT, RETIRED, Begin, Garbled, Ready, Refused, Reopen, Retire, Waiting
from relayd.observe import pages
from relayd.observe.facts import Gathering
from relayd.observe.http import Visitors
from relayd.observe.look import look
from relayd.observe.looking import Looking
from relayd.observe.post import Post

_BACKLOG = 64
_BEAT_SECONDS = 1.0
_STEP_SECONDS = 0.1


class ObserveProcess:
    """One for a relay."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._looking = Looking(self._loop, post.look or partial(look, post.config.spool.directory))
        self._gathering = Gathering(post.config, post.board, self._looking, __version__)
        made = {
            "/metrics": lambda: pages.metrics(self._gathering.facts(time.monotonic())),
            "/healthz": lambda: pages.healthz(self._gathering.facts(time.monotonic())),
        }
        self._visitors = Visitors(self._loop, made, self._bug)
        self._is_serving = False
        self._may_begin = asyncio.Event()
        self._is_told_to_end = asyncio.Event()

    async def run(self) -> int:
        """Answer until told to retire; give the exit status."""
        self._loop.set_exception_handler(self._unexpected)
        self._loop.add_reader(self._post.channel.fileno(), self._hear_master)
        self._beat()
        self._post.channel.send(Waiting())
        await self._may_begin.wait()
        if self._is_told_to_end.is_set():
            return RETIRED
        try:
            server = await self._listen()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            place = f"{self._post.listen.address} port {self._post.listen.port}"
            self._post.channel.send(Refused(f"metrics: cannot listen at {place}: {why}"))
            return CANNOT_BOOT
        if server is None:
            return RETIRED
        self._is_serving = True
        self._looking.tend()
        self._post.channel.send(Ready())
        await self._is_told_to_end.wait()
        self._is_serving = False
        server.close()
        self._visitors.end()
        self._looking.end()
        return RETIRED

    async def _listen(self) -> asyncio.Server | None:
        """Take the port, which another may be about to give up; None when told to end before that."""
        place = self._post.listen
        family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
        until = self._loop.time() + self._post.patience
        while not self._is_told_to_end.is_set():
            listening = socket.socket(family, socket.SOCK_STREAM)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind((place.address, place.port))
                return await self._loop.create_server(self._visitors.visitor, sock=listening, backlog=_BACKLOG)
            except OSError as error:
                listening.close()
                if error.errno != errno.EADDRINUSE or self._loop.time() >= until:
                    raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STEP_SECONDS):
                    await self._is_told_to_end.wait()
        return None

    def _beat(self) -> None:
        self._loop.call_later(_BEAT_SECONDS, self._beat)
        self._post.slot.set("heartbeat", int(time.monotonic() * 1000))
        # Lines that could not be written are tried again when nothing else happens.
        self._post.log.flush()
        if self._is_serving:
            self._looking.tend()

    def _hear_master(self) -> None:
        try:
            said = self._post.channel.receive()
        except BlockingIOError:
            return
        match said:
            case Begin():
                self._may_begin.set()
            case None | Retire():
                # Nobody is in the middle of anything that matters; without the master nothing is to tell.
                self._loop.remove_reader(self._post.channel.fileno())
                self._is_told_to_end.set()
                self._may_begin.set()
            case Reopen():
                self._reopen_log()
            case Garbled():
                self._bug("channel", ValueError(f"the master said {said.beginning}"))

    def _reopen_log(self) -> None:
        try:
            self._post.log.reopen()
        except OSError as error:
            self._post.log.write(events.ConfigWarning(warning=f"the log cannot be reopened: {error}"))

    def _bug(self, where: str, error: BaseException) -> None:
        self._post.slot.add("bugs")
        told = "".join(traceback.format_exception(error))
        self._post.log.write(events.Bug(where=f"metrics: {where}", traceback=told))

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """The event loop's exception handler; a lack of descriptors at accept concerns whoever asks."""
        error, message = context.get("exception"), str(context.get("message", "event loop"))
        if not isinstance(error, OSError):
            self._bug(message, error if isinstance(error, BaseException) else RuntimeError(message))
