"""A post: what a worker is handed by the master. A type only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relayd.base.bound import Bound
from relayd.base.channel import Channel
from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.base.sections import Config
from relayd.base.tally import Hand
from relayd.receive.resources import available_memory
from relayd.spool.disk import Disk
from relayd.spool.hint import Hints
from relayd.spool.measured import MeasuredDisk
from relayd.spool.turn import Turn


@dataclass(frozen=True)
class Post:
    """One worker's.

    `tally` is its hand on what all workers count; there is one living process a hand. `disk` is what the spool's
    system calls go through; a disk that does not answer gets `grace` seconds when the time to retire is over. All
    deadlines are looked at every `sweep` seconds, and so is `memory`, the share of it that is available. So many
    seconds a client waits after its first `wrong_password`. `turn` is the one that all committers take.
    `place` is its number, from 0, and of how many workers, where each is to stay on a processor of its own.
    """

    config: Config
    listeners: Sequence[Bound]
    hints: Hints
    channel: Channel
    slot: Slot
    log: Log
    tally: Hand
    disk: Disk = field(default_factory=MeasuredDisk)
    grace: float = 3.0
    sweep: float = 1.0
    memory: Callable[[], float] = available_memory
    wrong_password: float = 1.0
    turn: Turn = field(default_factory=Turn)
    place: tuple[int, int] | None = None
