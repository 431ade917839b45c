"""Back-off: how long to wait before a child that died is started again. Pure.

A child that dies young is slowed down, 1, 2, 4 … 30 seconds, so that a crash loop costs little; one that had run
for a while comes back at once.
"""

_SHORTEST = 1.0
_LONGEST = 30.0
_STABLE_SECONDS = 60.0


def delay(deaths: int) -> float:
    """Seconds to wait after so many early deaths in a row (0: none)."""
    return 0.0 if deaths == 0 else min(_LONGEST, _SHORTEST * 2.0 ** min(deaths - 1, 10))


def deaths_in_a_row(before: int, lived: float) -> int:
    """The new count when a child dies that lived so many seconds."""
    return 0 if lived >= _STABLE_SECONDS else before + 1
