"""The post: what the delivery process is handed by the master, and what tests hand it instead. Values only."""

from dataclasses import dataclass, field

from relayd.base.channel import Channel
from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.base.sections import Config
from relayd.deliver.exchangers import IP
from relayd.deliver.limits import Limits
from relayd.spool.disk import Disk
from relayd.spool.hint import Hints


@dataclass(frozen=True)
class Post:
    """What the delivery process is handed by the master.

    `endpoints` are where the listeners are reached, a wildcard as itself and as the addresses it stands for.
    """

    config: Config
    endpoints: frozenset[tuple[IP, int]]
    hints: Hints
    channel: Channel
    slot: Slot
    log: Log
    limits: Limits = field(default_factory=Limits)
    disk: Disk | None = None
