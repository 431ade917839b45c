"""The report: how everything stands, as the master answers a command. Values, and how they are made.

Refuses to ask the processes: their numbers are read from the counters, so that one that hangs is reported too.
"""

import os
from collections.abc import Sequence
from typing import Literal

import msgspec

from relayd import __version__
from relayd.base import counters
from relayd.base.bound import Bound
from relayd.base.coherence import hears_passwords, offers_tls
from relayd.base.counters import Slot
from relayd.base.sections import Config
from relayd.master import listeners
from relayd.master.children import Child
from relayd.master.condition import Condition


class Listening(msgspec.Struct, frozen=True):
    """One address and port, and what clients find there: what is offered, not what is only configured."""

    place: str
    tls: Literal["starttls", "implicit", "off"] = "off"
    auth: Literal["off", "offered", "required"] = "off"
    proxy: bool = False


class Process(msgspec.Struct, frozen=True):
    """One process: `started` is seconds since 1970; `restarts` counts since the master's start."""

    role: str
    pid: int
    started: float
    state: str
    restarts: int = 0
    gauges: dict[str, int] = {}


class Report(msgspec.Struct, frozen=True):
    """Everything. `totals` count since the master's start."""

    version: str
    pid: int
    started: float
    state: str
    user: str
    listening: list[Listening]
    processes: list[Process]
    totals: dict[str, int]
    condition: Condition = Condition()


def listening(config: Config, bound: Sequence[Bound]) -> list[Listening]:
    """The places where clients connect."""
    found = []
    for each in bound:
        listener = each.listener
        tls = listener.tls if offers_tls(config, listener) else "off"
        auth = listener.auth if hears_passwords(config, listener) else "off"
        found.append(Listening(listeners.place(each), tls, auth, listener.proxy))
    return found


def report(
    *,
    began: float,
    state: str,
    user: str,
    listening: list[Listening],
    children: Sequence[Child],
    slots: Sequence[Slot],
    condition: Condition,
) -> Report:
    """By the master, of itself and its children; `slots` are those of all processes that were and are."""
    me = Process("master", os.getpid(), began, "stopping" if state == "stopping" else "running")
    return Report(
        version=__version__,
        pid=me.pid,
        started=began,
        state=state,
        user=user,
        listening=listening,
        processes=[me, *map(_process, children)],
        totals={name: counters.total(slots, name) for name in counters.TOTALS},
        condition=condition,
    )


def _process(child: Child) -> Process:
    gauges = {name: child.slot.get(name) for name in counters.GAUGES}
    return Process(child.role, child.pid, child.started, child.state, child.restarts, gauges)
