"""The post: what the master is handed when everything is bound, opened and dropped. A type only."""

from dataclasses import dataclass
from pathlib import Path

from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.master.control import Control
from relayd.master.generation import Common, Plan
from relayd.master.herald import Herald
from relayd.master.pidfile import PidFile
from relayd.master.privileges import Identity


@dataclass(frozen=True)
class Post:
    """What the master is handed. `log_file` None is standard error; `command` is what executes this code anew."""

    plan: Plan
    common: Common
    identity: Identity
    pid_file: PidFile
    control: Control
    slot: Slot
    log: Log
    herald: Herald
    log_file: Path | None
    command: tuple[str, ...]
