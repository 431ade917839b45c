"""The reader: a child that reads a configuration anew and looks at what it names, for a reload.

In a process of its own, since files and name servers may not answer, and the master must. It is the relay's user
by then, so that what it can read, the others can. A configuration that is refused is its last word; one that is
good comes back by memory that both share.
"""

import mmap
import os
import pickle
import resource
from collections.abc import Sequence
from functools import partial

from relayd.base.bound import Bound
from relayd.base.channel import CANNOT_BOOT, RETIRED, Channel, Ready, Refused
from relayd.base.counters import SLOT, Slot
from relayd.base.mistake import ConfigError
from relayd.master import listeners
from relayd.master.children import Child
from relayd.master.fixed import changed, fixed
from relayd.master.generation import Plan
from relayd.master.looks import reach_port, reach_spool, second_looks
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed


class Reader:
    """One reading. `child` is ready when `plan` can be asked for; it gives up the sockets that are `bound`."""

    def __init__(self, before: Plan, identity: Identity, bound: Sequence[Bound]) -> None:
        self._fd = os.memfd_create("relayd-configuration", os.MFD_CLOEXEC)
        # It carries no mail and counts nothing. And it does not know this reader: the master freezes what it has
        # at each fork, so that a circle would stay for ever.
        slot = Slot(memoryview(mmap.mmap(-1, SLOT)).cast("Q"))
        self.child = Child("configuration", partial(_read, self._fd, before, identity, bound), slot)
        self.child.due = 0.0

    def plan(self) -> Plan:
        """What it has read."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self._fd, "rb", closefd=False) as memory:
            found: Plan = pickle.load(memory)
        return found

    def close(self) -> None:
        """Give the memory back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _read(fd: int, before: Plan, identity: Identity, bound: Sequence[Bound], channel: Channel) -> int:
    """What the child does."""
    # It may hang, and outlive the master, whose next one needs the ports.
    listeners.close(bound)
    try:
        plan = _plan(before, identity)
    except (ConfigError, StartFailed) as error:
        channel.send(Refused(str(error)))
        return CANNOT_BOOT
    with open(fd, "wb", closefd=False) as memory:
        # Between two processes of the same code, of which one has forked the other.
        pickle.dump(plan, memory)
    channel.send(Ready())
    return RETIRED


def _plan(before: Plan, identity: Identity) -> Plan:
    source = before.source.read()
    config = source.config()
    other = changed(fixed(before.config), fixed(config))
    if other is not None:
        raise ConfigError(f"{other} has changed; restart needed")
    reach_spool(config.spool.directory, identity)
    reach_port(config.metrics, before.config.metrics)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Plan(source, config, second_looks(config, identity, files))
