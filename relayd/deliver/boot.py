"""Boot: how a forked child becomes the delivery process of its spool, and how it ends.

There is one for a spool: it holds the delivery lock, which it takes when the master says that the one before it is
gone. It exits CANNOT_BOOT with the reason when it cannot have it.
"""

import asyncio
import contextlib
import logging
import resource
import signal

from relayd.base.begin import told_to_begin
from relayd.base.channel import CANNOT_BOOT, RETIRED, Refused
from relayd.base.loop import run
from relayd.base.scheduling import come_second
from relayd.deliver import lock
from relayd.deliver.delivery import DeliveryProcess
from relayd.deliver.post import Post
from relayd.spool.layout import Layout


def deliver(post: Post) -> int:
    """Be the delivery process until told to retire; give the exit status."""
    _allow_files()
    come_second()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        # The master says when to end, by the channel: a signal to the whole group must not cut transactions.
        signal.signal(number, signal.SIG_IGN)
    layout = Layout(str(post.config.spool.directory))
    try:
        return run(_deliver(post, layout))
    except lock.Held as error:
        post.channel.send(Refused(f"delivery: another relayd uses {layout.root}: {error}"))
    except OSError as error:
        post.channel.send(Refused(f"delivery: {error.filename or layout.root}: {error.strerror or error}"))
    return CANNOT_BOOT


async def _deliver(post: Post, layout: Layout) -> int:
    loop = asyncio.get_running_loop()
    post.log.adopt(loop.call_later)
    # It would write to standard error what is no event of ours.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        process = DeliveryProcess(post, layout)
        if not await told_to_begin(post.channel, post.log):
            return RETIRED
        with lock.held(layout.delivery_lock, post.limits.lock):
            return await process.run()
    finally:
        # The loop takes no more calls.
        post.log.flush()
        post.log.adopt(None)


def _allow_files() -> None:
    """Have as many descriptors as the system gives: each connection is one, and each query to a name server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
