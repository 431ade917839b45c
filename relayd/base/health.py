"""Health: whether mail makes progress, judged from a few numbers; each finding is one line for people. Pure.

Refuses to collect the numbers, and to wait for mail that would show the same. What is not known is no finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relayd.base import units
from relayd.base.sections import Health

# This much more than what must stay free is near it.
_NEAR = 1.2
# A disk that may be filled to its end is nearly full here.
_LAST_OCTETS = 16 << 20
# The last hundred are kept for the journals of what is there.
_FEW_INODES = 1000
# A process whose loop has not come round for so long hangs.
HUNG_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """How it stands. None: nobody knows, or it does not matter now.

    `missing` says of each process that does not do its work why, `stuck` of each that makes no progress. In the
    last `seconds` (those of [health] window, or since the start) processes came again `restarts` times, and
    `recent_failures` attempts failed. Where all deliveries fail, `failures` are the attempts of the last
    `failing_seconds`. So many messages are `waiting`, and the oldest one that is due has been so for `oldest_due`
    seconds. `free` and `floor` are octets of the spool's disk, `inodes` are free ones, and `failed` the files in
    failed/. `unreadable` says why the spool could not be looked at.
    """

    missing: Sequence[str] = ()
    stuck: Sequence[str] = ()
    seconds: float = 0.0
    restarts: int = 0
    recent_failures: int = 0
    failures: int = 0
    failing_seconds: float = 0.0
    waiting: int | None = None
    oldest_due: float | None = None
    free: int | None = None
    floor: int = 0
    inodes: int | None = None
    failed: int = 0
    unreadable: str = ""


def judge(facts: Facts, limits: Health) -> list[str]:
    """What is wrong, the worst first; empty when all is well."""
    found = [*facts.missing, *facts.stuck]
    if facts.unreadable:
        found.append(facts.unreadable)
    if facts.oldest_due is not None and facts.oldest_due >= limits.overdue:
        found.append(
            f"the oldest due message has been due for {units.in_words(facts.oldest_due)}: see relayd queue list"
        )
    if facts.free is not None and facts.free < (_NEAR * facts.floor or _LAST_OCTETS):
        found.append(
            f"the spool's disk is nearly full: {_octets(facts.free)} free, and "
            f"{_octets(facts.floor)} must stay free (spool.minimum_free)"
        )
    if facts.inodes is not None and facts.inodes < _FEW_INODES:
        found.append(f"the spool's disk is nearly full: {_count(facts.inodes, 'inode')} free; each file takes one")
    if facts.failed:
        found.append(
            f"failed/ is not empty: {_count(facts.failed, 'file')} for a person to look at, "
            "see relayd queue list --state failed"
        )
    # What has failed for good some time ago is over; what waits still has to succeed.
    if facts.failures and (facts.recent_failures or facts.waiting != 0):
        found.append(
            f"every delivery of the last {units.in_words(facts.failing_seconds)} failed: "
            f"{_count(facts.failures, 'attempt')}, see relayd queue list --by destination"
        )
    if facts.restarts > limits.restarts:
        window = min(limits.window, facts.seconds) if facts.seconds else limits.window
        found.append(
            f"processes were restarted {facts.restarts} times in the last {units.in_words(window)}: "
            "the log has the reasons as process.died"
        )
    return found


def in_words(found: Sequence[str]) -> str:
    """One line: all that is wrong, or that nothing is."""
    return "; ".join(found) if found else "all is well"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _octets(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
