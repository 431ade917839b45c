"""Leaving: what a running master would leave to other code now. A view of it; nothing is changed."""

import socket
from collections import Counter

from relayd import __version__
from relayd.master import handover
from relayd.master.commands import Commands
from relayd.master.family import Family
from relayd.master.fixed import fixed
from relayd.master.generation import Plan
from relayd.master.handover import Shared, State
from relayd.master.post import Post


def leave(post: Post, plan: Plan, family: Family, commands: Commands, began: float, asker: socket.socket) -> State:
    """The state; `asker` is to be told how the other code fared."""
    common, config = post.common, plan.config
    silent, orders, last_ticket = commands.descriptors()
    slots = [common.board.slot(index) for index in range(common.board.slots)]
    return State(
        version=__version__,
        command=post.command,
        source=plan.source,
        fixed=fixed(config),
        log_file=None if post.log_file is None else str(post.log_file),
        log_format=config.log.format,
        began=began,
        control=post.control.fileno(),
        lock=post.pid_file.fileno(),
        shared=Shared(common.board.fileno(), common.tally.fileno(), common.hints.descriptors()),
        doors=handover.doors(common.bound),
        children=tuple(filter(None, map(handover.kin, family.running))),
        totals=dict(sum((Counter(slot.grown()) for slot in slots), Counter())),
        commands=tuple(silent),
        orders=orders,
        last_ticket=last_ticket,
        asker=asker.fileno(),
    )
