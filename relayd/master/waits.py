"""Waits: what holds a process up, as the kernel tells it in /proc. Never fails: what is not told is "other"."""

import os

from relayd.master.watchdog import Pulse, Wait


def why_it_waits(pulse: Pulse) -> Wait:
    """Whether the disk holds it up, somebody has stopped it, or neither."""
    states = _states(pulse.pid)
    if not states:
        return "other"
    main = states[0]
    if main in "Tt":
        return "stopped"
    if "D" in states:
        return "disk"
    # Some file systems (FUSE, for one) let a process sleep otherwise. One that works is not held up.
    return "disk" if pulse.disk_since and main == "S" else "other"


def _states(pid: int) -> str:
    """The state letter of each thread, the main one first."""
    found = []
    try:
        threads = sorted(os.listdir(f"/proc/{pid}/task"), key=lambda each: each != str(pid))
    except OSError:
        return ""
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                # The name before it may hold anything, brackets too.
                found.append(file.read().rpartition(b")")[2].split()[0].decode("ascii", "replace"))
        except (OSError, IndexError):
            continue
    return "".join(found)
