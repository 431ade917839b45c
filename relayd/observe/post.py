"""The post: what the process of metrics is handed by the master, and what tests hand it instead. Values only."""

from collections.abc import Callable
from dataclasses import dataclass

from relayd.base.channel import Channel
from relayd.base.counters import Board, Slot
from relayd.base.log import Log
from relayd.base.sections import Config, Metrics
from relayd.observe.look import Look


@dataclass(frozen=True)
class Post:
    """`listen` is where it answers, `slot` its own of the board's, and `look` what its child does.

    A port that is taken gets `patience` seconds: what has it may be just ending.
    """

    config: Config
    listen: Metrics
    board: Board
    slot: Slot
    channel: Channel
    log: Log
    look: Callable[[], Look] | None = None
    patience: float = 5.0
