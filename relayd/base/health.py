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
# A process whose loop has not come round for so long hangs.
HUNG_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """How it stands. None: nobody knows, or it does not matter now.

    `missing` says of each process that does not do its work why, `stuck` of each that makes no progress. In the
    last `seconds` (those of [health] window, or since the start) processes came again `restarts` times, and so
    many recipients were `delivered`, and `undelivered` an attempt each. The oldest message that is due has been so
    for `oldest_due` seconds. `free` and `floor` are octets of the spool's disk, and `failed` the files in failed/.
    `unreadable` says why the spool could not be looked at.
    """

    missing: Sequence[str] = ()
    stuck: Sequence[str] = ()
    seconds: float = 0.0
    restarts: int = 0
    delivered: int = 0
    undelivered: int = 0
    oldest_due: float | None = None
    free: int | None = None
    floor: int = 0
    failed: int = 0
    unreadable: str = ""


def judge(facts: Facts, limits: Health) -> list[str]:
    """What is wrong, the worst first; empty when all is well."""
    found = [*facts.missing, *facts.stuck]
    if facts.unreadable:
        found.append(facts.unreadable)
    if facts.oldest_due is not None and facts.oldest_due >= limits.overdue:
        found.append(f"the oldest due message has been due for {units.in_words(facts.oldest_due)}")
    if facts.free is not None and facts.free < (_NEAR * facts.floor or _LAST_OCTETS):
        found.append(
            f"the spool's disk is nearly full: {_octets(facts.free)} free, and "
            f"{_octets(facts.floor)} must stay free (spool.minimum_free)"
        )
    if facts.failed:
        found.append(f"{_count(facts.failed, 'file')} in failed/ for a person to look at")
    if facts.undelivered and not facts.delivered:
        found.append(
            f"every delivery of the last {_window(facts, limits)} failed ({_count(facts.undelivered, 'attempt')})"
        )
    if facts.restarts > limits.restarts:
        found.append(f"processes were restarted {facts.restarts} times in the last {_window(facts, limits)}")
    return found


def in_words(found: Sequence[str]) -> str:
    """One line: all that is wrong, or that nothing is."""
    return "; ".join(found) if found else "all is well"


def _window(facts: Facts, limits: Health) -> str:
    return units.in_words(min(limits.window, facts.seconds) if facts.seconds else limits.window)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _octets(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
