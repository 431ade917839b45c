"""Boot: how a process becomes a worker, and how it ends.

It plays a session with itself, waits for the master's word, and serves. It exits CANNOT_BOOT with the reason when
it cannot do its work at all.
"""

import asyncio
import signal

from relayd.base.begin import told_to_begin
from relayd.base.channel import CANNOT_BOOT, RETIRED, Refused
from relayd.base.loop import run
from relayd.base.scheduling import stay, take_long_turns
from relayd.base.tls import TlsError
from relayd.receive.canary import CanaryError, rehearse
from relayd.receive.post import Post
from relayd.receive.record import Record
from relayd.receive.worker import Worker
from relayd.spool.errors import SpoolError
from relayd.spool.intake import boot_check
from relayd.spool.layout import Layout


def serve(post: Post) -> int:
    """Be a worker until told to retire; give the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        # The master says when to end, by the channel: a signal to the whole group must not cut sessions.
        signal.signal(number, signal.SIG_IGN)
    take_long_turns()
    stands_by = False
    if post.place is not None:
        place, workers = post.place
        # It shares its processor with the delivery process.
        stands_by = stay(place, workers) and place == workers - 1
    return run(_serve(post, stands_by=stands_by))


async def _serve(post: Post, *, stands_by: bool) -> int:
    loop = asyncio.get_running_loop()
    post.log.adopt(loop.call_later)
    try:
        try:
            boot_check(Layout(str(post.config.spool.directory)))
            worker = Worker(post, stands_by=stands_by)
            await rehearse(worker, [each.listener for each in post.listeners])
            if not await told_to_begin(post.channel, post.log):
                worker.end_threads(hanging=False)
                return RETIRED
            await worker.open()
        except Exception as error:
            if not isinstance(error, (OSError, SpoolError, TlsError, CanaryError)):
                Record(post.slot, post.log, loop.time).bug("boot", error)
            post.channel.send(Refused(f"worker: {error or type(error).__name__}"))
            return CANNOT_BOOT
        return await worker.work()
    finally:
        # The loop takes no more calls.
        post.log.flush()
        post.log.adopt(None)
