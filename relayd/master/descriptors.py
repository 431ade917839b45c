"""Descriptors: how many files and sockets a process may have open (RLIMIT_NOFILE), and which ones it begins with.

Each session needs one, and one more while its message is written. Refuses to fail: with a low limit relayd serves
fewer sessions, and `warning` says so and why.
"""

import contextlib
import os
import resource
from collections.abc import Collection
from pathlib import Path

# What root asks for, where the limit is lower: enough for 10,000 sessions in each of three workers.
ENOUGH = 65_536
# With less, a worker would turn clients away that the machine could well serve.
_FEW = 16_384
_SYSTEM = Path("/proc/sys/fs/nr_open")
_OWN = Path("/proc/self/fd")
_LAST_STANDARD = 2


def raise_limit() -> int:
    """Raise the limit of this process, and so of those that it forks; give what it is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in (wanted(hard, _most(hard), is_root=os.geteuid() == 0), (hard, hard)):
        # Root in a container may lack the right to go beyond its hard limit; then that has to do.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def give_up_foreign(kept: Collection[int] = ()) -> None:
    """Close what whoever started this process passed on by mistake; to be called before anything of ours is open.

    It would stay open in all processes for as long as the relay runs: a lock that is never free, a pipe that never
    ends, a file of root's. Only what is `kept` was meant for us. The standard three are there afterwards, so that
    no socket gets their numbers and, with them, what is printed.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        os.set_inheritable(fd, True)
    os.close(fd)
    for fd in _open_now():
        # What Python and its libraries open for themselves is closed by an exec; what came through one is not.
        if fd > _LAST_STANDARD and fd not in kept:
            with contextlib.suppress(OSError):
                if os.get_inheritable(fd):
                    os.close(fd)


def wanted(hard: int, most: int, *, is_root: bool) -> tuple[int, int]:
    """The soft and the hard limit to ask for. `most` is the kernel's own bound for any process."""
    hard = most if hard == resource.RLIM_INFINITY else hard
    if is_root:
        hard = max(hard, min(ENOUGH, most))
    return hard, hard


def warning(limit: int) -> str | None:
    """What a low limit means and what to do about it, or None."""
    if limit >= _FEW:
        return None
    return (
        f"a process may have {limit} files open (RLIMIT_NOFILE), so that a worker serves {limit // 2} sessions; "
        "start as root, or raise the hard limit (ulimit -Hn, LimitNOFILE=, /etc/security/limits.conf)"
    )


def _open_now() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_OWN)]
    except OSError:
        return list(range(_FEW))


def _most(hard: int) -> int:
    try:
        return int(_SYSTEM.read_text())
    except (OSError, ValueError):
        # Without /proc nothing is known beyond what is.
        return ENOUGH if hard == resource.RLIM_INFINITY else hard
