"""A look at the spool: what waits there, how much room there is, and how quick the exchangers were. Values.

`look` may take seconds for a large queue, and for ever on a disk that hangs: it is for a process of its own. What
cannot be seen now is said in `trouble`, and nothing raises for it.
"""

import time
from pathlib import Path

import msgspec

from relayd.spool import kept
from relayd.spool.disk import Disk
from relayd.spool.errors import NotSound, WrongSpool
from relayd.spool.layout import Layout
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.view import View

# Whoever delivers to many domains meets thousands, and each would be a time series for ever.
MOST_EXCHANGERS = 50


class Greeting(msgspec.Struct, frozen=True):
    """The smoothed seconds from connect() to the greeting of an exchanger, of its address that greeted last."""

    exchanger: str
    seconds: float


class Look(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was seen in so many `seconds` of looking.

    `states` counts messages by folder, `due` those that should be on their way, the oldest for `oldest_due_s`;
    None where none is or all deliveries are paused. `free` is in octets,
    `inodes` are free ones, None where there is no such count.
    """

    seconds: float = 0.0
    states: dict[str, int] = {}
    due: int = 0
    oldest_due_s: float | None = None
    paused: bool = False
    free: int | None = None
    inodes: int | None = None
    greetings: tuple[Greeting, ...] = ()
    trouble: str = ""


def look(directory: Path, disk: Disk | None = None) -> Look:
    """See what there is to see; all of it may be less than a moment old or as old as the looking took."""
    disk = disk or Disk()
    layout = Layout(str(directory))
    began = time.monotonic()
    now = time.time()
    try:
        summary = View(directory, disk=disk).summary(now)
        paused = EVERYTHING in Pause(layout, disk).current()
        free, inodes = disk.free(layout.root)
    except (WrongSpool, NotSound) as error:
        return Look(trouble=f"the spool cannot be read: {error}")
    except OSError as error:
        return Look(trouble=f"the spool cannot be read: {error.filename or directory}: {error.strerror}")
    oldest = None if paused or summary.oldest_due is None else max(0.0, now - summary.oldest_due)
    states = {"new": summary.new, "cur": summary.cur, "hold": summary.hold, "failed": summary.failed}
    return Look(
        seconds=time.monotonic() - began,
        states=states,
        due=summary.due,
        oldest_due_s=oldest,
        paused=paused,
        free=free,
        inodes=None if inodes < 0 else inodes,
        greetings=_greetings(disk, layout, now),
    )


def _greetings(disk: Disk, layout: Layout, now: float) -> tuple[Greeting, ...]:
    try:
        known = kept.read(disk, layout).known(now)
    except (NotSound, OSError, ValueError):
        # The delivery process says what is wrong with it.
        return ()
    latest: dict[str, kept.Kept] = {}
    for each in sorted(known, key=lambda each: each.greeted, reverse=True):
        if each.greeting_s is not None:
            latest.setdefault(each.exchanger, each)
    found = list(latest.values())[:MOST_EXCHANGERS]
    return tuple(Greeting(each.exchanger, each.greeting_s or 0.0) for each in found)
