"""Boot: how a forked child becomes the process of metrics, and how it ends.

It holds nothing that others need. It exits CANNOT_BOOT with the reason when it cannot listen, or cannot read the
code that it needs.
"""

import asyncio
import logging
import os
import signal

from relayd.base.channel import CANNOT_BOOT, Refused
from relayd.observe.post import Post

# A tenth of what a worker gets, where both want it.
_NICER = 10


def serve(post: Post) -> int:
    """Answer until told to retire; give the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        # The master says when to end, by the channel.
        signal.signal(number, signal.SIG_IGN)
    # Whoever asks without pause takes the processor from nobody's mail.
    os.nice(_NICER)
    # asyncio's own loop: it goes on when there is no descriptor left for an accept, and says so.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(_serve(post))


async def _serve(post: Post) -> int:
    loop = asyncio.get_running_loop()
    post.log.adopt(loop.call_later)
    # It would write to standard error what is no event of ours.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        try:
            # Here, since who wants no metrics need not have the library.
            from relayd.observe.process import ObserveProcess
        except (ImportError, OSError) as error:
            # The package is there, or the configuration would have been refused; but this user may not read all
            # that it imports, where the master was not root when it began.
            post.channel.send(Refused(f"metrics: {error}, as this user; restart needed"))
            return CANNOT_BOOT
        return await ObserveProcess(post).run()
    finally:
        # The loop takes no more calls.
        post.log.flush()
        post.log.adopt(None)
