"""The delivery process: takes messages from the queue, hands their parcels to destinations, settles what comes.

There is one for a spool. Hints make it quick, the folders are the truth. It exits CANNOT_BOOT with the reason when
it cannot read the spool; later trouble with the spool is told, met again, and ends nothing.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable

from relayd.base import events
from relayd.base.begin import reopen
from relayd.base.channel import (
    CANNOT_BOOT,
    RETIRED,
    Operate,
    Operated,
    Ready,
    Refused,
    Reopen,
    Retire,
)
from relayd.deliver import retry
from relayd.deliver.accounts import Accounts, Office
from relayd.deliver.destinations import Destinations
from relayd.deliver.digest import Digests
from relayd.deliver.dispatch import Dispatch
from relayd.deliver.keeping import Keeping
from relayd.deliver.mail import Mail
from relayd.deliver.means import Means
from relayd.deliver.notices import Notices
from relayd.deliver.operator import Operator
from relayd.deliver.post import Post
from relayd.deliver.quotas import Quotas
from relayd.deliver.remembering import Remembering
from relayd.deliver.telling import Telling
from relayd.deliver.thread import SpoolThread
from relayd.deliver.voice import Voice
from relayd.deliver.ways import ways_of
from relayd.spool.job import Job
from relayd.spool.layout import Layout
from relayd.spool.measured import MeasuredDisk
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.queue import Queue

# How often it shows that it makes progress.
_BEAT_SECONDS = 1.0


class DeliveryProcess:
    """The queue, the destinations, and the turn of work that connects them."""

    def __init__(self, post: Post, layout: Layout) -> None:
        self._post = post
        self._config = post.config
        self._limits = post.limits
        self._loop = asyncio.get_running_loop()
        self._voice = Voice(self._loop, post.log, post.slot)
        self._loop.set_exception_handler(self._voice.unexpected)
        self._thread = SpoolThread(self._loop, lambda since: post.slot.set("disk_since", since))
        longest = retry.longest(post.config.delivery.retry)
        self._disk = post.disk or MeasuredDisk()
        self._queue = Queue(layout, self._voice.write_from_spool, longest=longest, disk=self._disk)
        dice = random.Random()
        self._accounts = Accounts(
            post.config,
            self._queue,
            post.limits,
            Office(
                ask=self._thread.ask,
                in_spool=self._thread.submit,
                together=self._thread.together,
                later=self._loop.call_later,
                write=post.log.write,
                bug=self._voice.bug,
                counters=post.slot,
                dice=dice,
                settled=self._settled,
            ),
        )
        ways = ways_of(post.config, post.endpoints, post.limits, post.slot, post.log.write, dice)
        self._remembering = Remembering(Keeping(layout, post.disk, ways.clock, time.time), ways, self._thread)
        self._destinations = Destinations(
            Means(
                ways=ways,
                quotas=Quotas(post.config.delivery.limits),
                mail=Mail(self._queue),
                report=self._accounts.report,
                postpone=self._accounts.postpone,
                divide=self._accounts.divide,
                is_behind=self._accounts.is_behind,
                caught_up=self._accounts.caught_up,
                promise=self._accounts.promise if post.config.delivery.in_doubt == "hold" else None,
                bug=self._voice.bug,
            )
        )
        self._dispatch = Dispatch(
            post.config, self._accounts.open, self._destinations.__getitem__, post.log.write, self._voice.bug
        )
        self._operator = Operator(
            self._queue,
            Notices(post.config, self._queue),
            Telling(self._voice.write_from_spool, self._voice.count_from_spool),
            Digests(post.limits.notices),
        )
        self._pause = Pause(layout, post.disk)
        self._paused: frozenset[str] = frozenset()
        self._heard: list[str] = []
        self._wake = asyncio.Event()
        self._retiring = asyncio.Event()
        # The time that it has for that.
        self._time_is_over = asyncio.Event()
        self._polled_new = self._polled_cur = self._looked_after = self._loop.time()
        self._was_full = False
        self._trouble_s = 0.0

    async def run(self) -> int:
        """Deliver until told to retire; give the exit status."""
        self._beat()
        self._loop.add_reader(self._post.channel.fileno(), self._hear_master)
        try:
            found = await self._thread.ask(self._queue.recover)
        except Exception as error:
            self._voice.trouble("recovery", error)
            self._post.channel.send(Refused(f"delivery: spool: {str(error) or type(error).__name__}"))
            return CANNOT_BOOT
        self._post.log.write(
            events.RecoveryDone(
                waiting=found.waiting,
                scheduled=found.scheduled,
                held=found.held,
                swept=found.swept,
                notices=found.notices,
                orphans=found.orphans,
                set_aside=found.set_aside,
            )
        )
        await self._remembering.recall()
        self._loop.add_reader(self._post.hints.fileno(), self._hear_worker)
        self._post.channel.send(Ready())
        await self._work_until_told()
        await self._retire()
        return RETIRED

    def _beat(self) -> None:
        """Show that the loop comes round, also while the disk holds up the turns, and how it stands."""
        self._loop.call_later(_BEAT_SECONDS, self._beat)
        slot = self._post.slot
        slot.set("heartbeat", int(time.monotonic() * 1000))
        slot.set("connections_open", self._destinations.connections)
        slot.set("in_flight", len(self._accounts))
        slot.observe("fsync_seconds", *self._disk.waits())
        # Lines that could not be written are tried again when nothing else happens.
        self._post.log.flush()

    # Work.

    async def _work_until_told(self) -> None:
        """Turn after turn; the end does not wait for the last one, which may wait for a disk that hangs."""
        working = self._loop.create_task(self._work())
        told = self._loop.create_task(self._retiring.wait())
        await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if working.done():
            working.result()
        working.cancel()

    async def _work(self) -> None:
        while not self._retiring.is_set():
            await self._turn()

    async def _turn(self) -> None:
        """Take what is due, then sleep until a hint, a due date, or the time to look into the folders."""
        now = self._loop.time()
        poll_new = now - self._polled_new >= self._limits.poll_new
        poll_cur = now - self._polled_cur >= self._limits.poll_cur
        heard, self._heard = self._heard, []
        room = self._limits.in_flight - len(self._accounts)
        self._was_full = room < self._limits.at_once
        look_after = self._limits.relief if self._was_full else self._limits.poll_new
        if now - self._looked_after >= look_after:
            self._destinations.look_after(now - self._looked_after, is_full=self._was_full)
            self._looked_after = now
            self._remembering.tend()
        limit = min(self._limits.at_once, room)
        self._wake.clear()
        try:
            jobs, due = await self._thread.ask(lambda: self._take(heard, poll_new, poll_cur, limit))
        except Exception as error:
            # What the hints were about is in the folders, which are read again as long as they were not.
            self._voice.trouble("turn", error)
            self._trouble_s = min(max(self._limits.poll_new, 2 * self._trouble_s), self._limits.trouble)
            await _until(self._retiring, self._trouble_s)
            return
        self._trouble_s = 0.0
        if self._retiring.is_set():
            # These messages are where they were, and the next start finds them.
            return
        self._polled_new = now if poll_new else self._polled_new
        self._polled_cur = now if poll_cur else self._polled_cur
        for job in jobs:
            self._dispatch.start(job, self._paused)
        if limit > 0 and len(jobs) == limit:
            return
        pause = look_after
        if due is not None and limit > 0:
            pause = min(pause, max(0.01, due - time.time()))
        # Cheaper than a timeout around the wait, and there is one in each turn.
        timer = self._loop.call_later(pause, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _take(
        self, heard: Iterable[str], poll_new: bool, poll_cur: bool, limit: int
    ) -> tuple[list[Job], float | None]:
        """On the spool's thread: everything the queue is asked in one turn."""
        self._queue.hear(heard)
        self._paused = self._pause.current()
        if poll_new:
            self._queue.scan("new")
            self._queue.tidy()
        if poll_cur:
            self._queue.scan("cur")
        if EVERYTHING in self._paused:
            return [], None
        return self._queue.take(limit, time.time()), self._queue.next_due()

    def _settled(self) -> None:
        if self._was_full:
            self._wake.set()

    # Hearing and ending.

    def _hear_worker(self) -> None:
        self._heard += self._post.hints.receive()
        self._wake.set()

    def _hear_master(self) -> None:
        try:
            said = self._post.channel.receive()
        except BlockingIOError:
            return
        match said:
            case None:
                # The master died, and nobody else will end this process.
                self._loop.remove_reader(self._post.channel.fileno())
                self._begin_to_retire(self._config.process.stop_timeout)
            case Retire():
                self._begin_to_retire(said.seconds)
            case Reopen():
                reopen(self._post.log)
            case Operate():
                self._operate(said)
            case _:
                self._voice.bug("channel", ValueError(f"the master said {said}"))

    def _operate(self, order: Operate) -> None:
        def done(result: object) -> None:
            if isinstance(result, tuple):
                self._post.channel.send(Operated(order.ticket, result))
            elif isinstance(result, Exception):
                self._voice.trouble("order", result)
                self._post.channel.send(Operated(order.ticket, (str(result),) * len(order.ids)))
            self._wake.set()

        self._thread.submit(lambda: self._operator.carry_out(order), done)

    def _begin_to_retire(self, seconds: float) -> None:
        # A second word that leaves less time counts, however long the first one waits for a reply.
        self._loop.call_later(seconds, self._time_is_over.set)
        self._retiring.set()
        self._wake.set()

    async def _retire(self) -> None:
        """Before the final dot: close. After it: wait for the reply, or be in doubt. Then settle what came."""
        await self._destinations.stop(self._time_is_over)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.last_write):
                await self._finish_spool()

    async def _finish_spool(self) -> None:
        """Let the spool take what it can; a disk that fails is not waited for, the next start asks it again."""
        while True:
            try:
                await self._thread.ask(self._queue.tidy)
            except Exception as error:
                self._voice.trouble("end", error)
            if not self._accounts.is_at_work:
                await self._remembering.keep()
                with contextlib.suppress(Exception):
                    await self._thread.ask(self._queue.close)
                # The thread has nothing to do: this does not wait.
                self._thread.close()
                return


async def _until(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
