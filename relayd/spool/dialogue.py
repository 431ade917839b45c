"""A dialogue: what an exchanger and we said in one attempt, as a journal keeps it for people. Values only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

# How much of the dialogues of one attempt is kept, in characters: a hostile one must not use up the disk.
_LONGEST = 8000


class Dialogue(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is when we connected to the exchanger (UTC); each line begins with the seconds since then."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    exchanger: str
    address: str
    lines: tuple[str, ...]


def latest(dialogues: Sequence[Dialogue]) -> tuple[Dialogue, ...]:
    """As many of the last ones as are kept; one in any case."""
    left = _LONGEST
    first = len(dialogues)
    while first > 0:
        left -= sum(map(len, dialogues[first - 1].lines))
        if left < 0 and first < len(dialogues):
            break
        first -= 1
    return tuple(dialogues[first:])
