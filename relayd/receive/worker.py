"""A worker: one process that holds many sessions and commits what they bring, in groups.

It retires when the master says so or is gone, and ends as a crash when the spool's folder can no longer be synced
or a listener dies.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from relayd import __version__
from relayd.base import events, tls
from relayd.base.begin import reopen
from relayd.base.channel import RETIRED, Garbled, Ready, Reopen, Retire
from relayd.base.sections import Listener
from relayd.receive.auth import Authenticator
from relayd.receive.connection import Connection
from relayd.receive.door import Door
from relayd.receive.guard import Guard
from relayd.receive.listening import Listening
from relayd.receive.policy import Policy, address_of
from relayd.receive.post import Post
from relayd.receive.preface import Preface
from relayd.receive.record import Record
from relayd.receive.resources import most_sessions
from relayd.receive.service import Served
from relayd.receive.slowdown import Slowdown
from relayd.receive.standby import Standby, leave_nothing
from relayd.smtp.census import Census
from relayd.spool.clerk import Clerk
from relayd.spool.errors import SpoolError, SpoolFailed
from relayd.spool.ids import Ids
from relayd.spool.intake import Draft, Intake
from relayd.spool.layout import Layout

__all__ = ["Post", "Worker"]

_LARGE_AT_ONCE = 4
# Sessions in a transaction have this long when the spool has failed and nothing more can be taken.
_CRASH_SECONDS = 1.0
_CRASHED = 1


class Worker:
    """All sessions of one process; one that `stands_by` leaves the first connections to the other workers."""

    def __init__(self, post: Post, *, stands_by: bool = False) -> None:
        self.config = post.config
        self.version = __version__
        self.loop = asyncio.get_running_loop()
        self.ids = Ids()
        self.policy = Policy.of(post.config, [address_of(each.socket.getsockname()[0]) for each in post.listeners])
        self.intake = Intake(
            Layout(str(post.config.spool.directory)),
            post.config.spool.minimum_free,
            disk=post.disk,
            ids=self.ids,
        )
        self.record = Record(post.slot, post.log, self.loop.time)
        self.census = Census()
        config = post.config
        self.door = Door(config.hostname, post.tally, config.session.per_client)
        self.guard = Guard(post.tally, config.relay)
        self.tls = None if config.tls is None else tls.server_context(config.tls)
        self.authenticator: Authenticator | None = None
        if config.auth is not None:
            self.authenticator = Authenticator(
                config.auth.users, self.loop, self.record.users_unreadable, Slowdown(post.wrong_password)
            )
        self.is_retiring = False
        self._slot = post.slot
        self._tally = post.tally
        self._memory = post.memory
        self._disk = post.disk
        # Seconds of each group, from the committer's thread.
        self._commits: deque[float] = deque()
        self._listening = Listening(
            self.loop,
            post.listeners,
            self._protocol,
            self._end_if_empty,
            self.record.session_refused,
            self._listener_died,
            Standby(post.tally).wait if stands_by else leave_nothing,
        )
        self._hints = post.hints
        self._channel = post.channel
        self._committer: Clerk[Draft, str | SpoolError] = Clerk(
            self.loop,
            "committer",
            self._commit_group,
            lambda since: post.slot.set("disk_since", since),
        )
        self._turn = post.turn
        self._large = ThreadPoolExecutor(_LARGE_AT_ONCE, "large")
        # In milliseconds, the oldest first.
        self._large_since: dict[asyncio.Future[None], int] = {}
        self._connections: set[Served] = set()
        self._status = RETIRED
        self._grace = post.grace
        self._sweep_every = post.sweep
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._deadline: asyncio.TimerHandle | None = None
        # When the time to retire is over.
        self._until = math.inf

    async def open(self) -> None:
        """Accept connections, and tell the master."""
        # It would write to standard error what is no event of ours.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self.loop.set_exception_handler(self._unexpected)
        # Clients that wait come in as soon as the first listener is served, and are counted.
        self._tally.begin()
        self._listening.open()
        self.loop.add_reader(self._channel.fileno(), self._hear_master)
        self.door.most = most_sessions()
        self._sweep()
        self._channel.send(Ready())

    def _protocol(self, listener: Listener) -> Callable[[], asyncio.Protocol]:
        """What serves a connection to this listener."""
        if listener.proxy:
            return lambda: Preface(self, listener)
        return lambda: Connection(self, listener)

    async def work(self) -> int:
        """Serve until there is nothing more to serve; give the exit status."""
        await self._ended
        for connection in list(self._connections):
            connection.abandon()
        # What was aborted is closed by the next turn.
        await asyncio.sleep(0)
        self.end_threads(hanging=bool(self._connections))
        self._measure()
        return self._status

    def end_threads(self, *, hanging: bool) -> None:
        """Wait for the threads, or leave them where the disk hangs."""
        if hanging:
            count = len(self._connections)
            self.record.log.write(events.SpoolTrouble(reason=f"{count} sessions end unanswered: the disk hangs"))
            self._large.shutdown(wait=False, cancel_futures=True)
        else:
            self._committer.close()
            self._large.shutdown()
        if self.authenticator is not None:
            self.authenticator.close()

    # What connections ask.

    @property
    def open_sessions(self) -> int:
        """How many there are now."""
        return len(self._connections)

    def in_thread(self, work: Callable[[], None], done: Callable[[object], None]) -> None:
        """Do the slow part of a large message; `done` gets what came of it, an exception included."""
        future = self.loop.run_in_executor(self._large, work)
        self._large_since[future] = int(time.monotonic() * 1000)

        def ended(future: asyncio.Future[None]) -> None:
            del self._large_since[future]
            self._tell_oldest()
            done(None if future.cancelled() else future.exception())

        self._tell_oldest()
        future.add_done_callback(ended)

    def _tell_oldest(self) -> None:
        """Since when the oldest of these parts has been going on."""
        self._slot.set("large_since", next(iter(self._large_since.values()), 0))

    def commit(self, draft: Draft, done: Callable[[object], None]) -> None:
        """Make a draft a message, in a group with others; `done` gets its name or an exception."""
        self._committer.submit(draft, done)

    def spool_trouble(self, error: Exception) -> SpoolError:
        """The spool could not do its part; give what its client is told."""
        if not isinstance(error, SpoolError):
            self.record.bug("spool", error)
            return SpoolFailed(str(error))
        self.record.spool_failed(error)
        if isinstance(error, SpoolFailed) and error.uncertain:
            # After this turn, in which the whole group hears it. The intake takes nothing more from here on.
            self.loop.call_soon(self._retire, _CRASH_SECONDS, _CRASHED)
        return error

    # What connections tell.

    def opened(self, session: Served) -> int:
        """A session began; give how many there are now."""
        self._connections.add(session)
        return len(self._connections)

    def closed(self, session: Served) -> int:
        """Nothing of a session is left; give how many there are now."""
        self._connections.discard(session)
        self._end_if_empty()
        return len(self._connections)

    # The committer's thread.

    def _commit_group(self, drafts: Sequence[Draft]) -> list[str | SpoolError]:
        began = time.monotonic()
        results = self.intake.commit(drafts, self._turn, self._committer.more)
        self._commits.append(time.monotonic() - began)
        self._hints.send([each for each in results if isinstance(each, str)])
        return results

    # The master.

    def _hear_master(self) -> None:
        try:
            said = self._channel.receive()
        except BlockingIOError:
            return
        match said:
            case None:
                # The master died: the port must be free for the next one, and nobody else will end this process.
                self.loop.remove_reader(self._channel.fileno())
                self._retire(self.config.process.stop_timeout)
            case Retire(gently=True):
                self._leave(said.seconds)
            case Retire():
                self._retire(said.seconds)
            case Reopen():
                reopen(self.record.log)
            case Garbled():
                self.record.bug("channel", ValueError(f"the master said {said.beginning}"))

    def _leave(self, seconds: float) -> None:
        """Another worker has the listeners now: sessions go on for so many seconds, and then are asked to end."""
        if self._listening.is_closing:
            return
        self._listening.close()
        self._deadline = self.loop.call_later(seconds, self._retire, self.config.process.stop_timeout)

    def _end_if_empty(self) -> None:
        if self._listening.is_settled and not self._connections:
            self._end()

    def _retire(self, seconds: float, status: int = RETIRED) -> None:
        """Begin nothing new; what runs may go on for so many seconds, or for less if that was said before."""
        self._status = self._status or status
        if not self.is_retiring:
            self.is_retiring = True
            self._listening.close()
            for connection in list(self._connections):
                connection.retire(at_once=False)
        self._end_if_empty()
        if self._deadline is not None:
            self._deadline.cancel()
        self._until = min(self._until, self.loop.time() + seconds)
        self._deadline = self.loop.call_at(self._until, self._cut)

    def _listener_died(self, error: OSError) -> None:
        self.record.bug("listener", error)
        self._retire(_CRASH_SECONDS, _CRASHED)

    def _cut(self) -> None:
        """Time is up: 421 to everyone, and the end a moment later whoever still hangs on."""
        for connection in list(self._connections):
            connection.retire(at_once=True)
        self.loop.call_later(self._grace, self._end)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # Now and then, and what nobody expects.

    def _sweep(self) -> None:
        """One look at all deadlines, instead of a timer for each session."""
        self.loop.call_later(self._sweep_every, self._sweep)
        self._slot.set("heartbeat", int(time.monotonic() * 1000))
        # Without a descriptor left the system cannot be asked, and just then sessions have to end in time.
        with contextlib.suppress(OSError):
            self.door.look(self._memory())
        self._measure()
        now = self.loop.time()
        for connection in list(self._connections):
            connection.sweep(now, self.config.session.timeout)
        # Lines that could not be written are tried again when nothing else happens.
        self.record.log.flush()

    def _measure(self) -> None:
        """Tell the counters what is too frequent to be told one by one; the end of a crashing process is not."""
        commits = [self._commits.popleft() for _ in range(len(self._commits))]
        self.record.measured(self.census, commits, self._disk.waits())

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What the loop would print: a lack of descriptors at accept, or a defect."""
        message = str(context.get("message", "event loop"))
        error = context.get("exception")
        if isinstance(error, OSError):
            self.record.session_refused(f"{message}: {error.strerror}")
        else:
            self.record.bug(message, error if isinstance(error, BaseException) else RuntimeError(message))
