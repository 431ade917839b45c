"""The way out: whether it looks as if this host could not connect to the port where exchangers listen.

Told from what the delivery process has met and left in the spool, so also when nothing runs.
"""

from relayd.base import units
from relayd.base.config import Config
from relayd.deliver.keeping import Memory

# What was met longer ago says nothing of today.
_BELIEVED_SECONDS = 86_400.0


def warning(config: Config, memory: Memory, now: float) -> str | None:
    """What is wrong with it, or None; `now` is of the clock that the memory was read by."""
    outward = memory.outward
    if not outward.looks_blocked or outward.since is None or memory.age >= _BELIEVED_SECONDS:
        return None
    since, several = units.in_words(now - outward.since), len(outward.destinations)
    return (
        f"port {config.delivery.port} outward looks blocked: for {since} every connect to every destination "
        f"({several} of them) has timed out; many providers block it: "
        'ask yours, or send through their relay with [routes] "*"'
    )
