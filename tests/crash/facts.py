"""Facts: what is true outside of the spool, told line by line to a file that outlives whoever tells it.

A recipient of a message is a key, its message's ID and its index. `compare` says of a spool that was started again
after a crash, and drained, what was lost and what came twice. Refuses to know how the crash was made.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[str, int]

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Teller:
    """One process's hand on the file; a line is there, or not, when the process dies."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, _APPEND, 0o600)

    def say(self, fact: str, message_id: str = "-", *numbers: object) -> None:
        """Add a line: a word, an ID, and what goes with it."""
        os.write(self._fd, (" ".join([fact, message_id, *map(str, numbers)]) + "\n").encode())


@dataclass
class Facts:
    """What exchangers have `taken` and how often, what the spool has said, and who was told of which failures.

    `settled` outcomes are recorded unless the power fails, `durable` ones in any case. `notices` are, for a
    recipient that was refused or `relayed`, the notifications that came about it.
    """

    acknowledged: set[Key] = field(default_factory=set)
    taken: Counter[Key] = field(default_factory=Counter)
    settled: set[Key] = field(default_factory=set)
    durable: set[Key] = field(default_factory=set)
    refused: set[Key] = field(default_factory=set)
    relayed: set[Key] = field(default_factory=set)
    notices: defaultdict[Key, set[str]] = field(default_factory=lambda: defaultdict(set))
    bugs: list[str] = field(default_factory=list)


def read(lines: Iterable[str]) -> Facts:
    """The facts that lines tell: a word, an ID, and recipients by their indexes, or what the word needs."""
    facts = Facts()
    for line in lines:
        fact, message_id, *rest = line.split()
        if fact == "bug":
            facts.bugs.append(" ".join(rest))
        elif fact == "tidied":
            facts.durable |= facts.settled
        elif fact == "begins":
            # What a power cut may have undone is settled no more.
            facts.settled = set(facts.durable)
        elif fact == "told":
            about, *indexes = rest
            for index in indexes:
                facts.notices[about, int(index)].add(message_id)
        else:
            for key in ((message_id, int(index)) for index in rest):
                if fact == "taken":
                    facts.taken[key] += 1
                else:
                    getattr(facts, fact).add(key)
    return facts


@dataclass(frozen=True)
class Verdict:
    """What a crash came to.

    `lost` recipients never got an acknowledged message; `owed` are failures, and successes that were asked about,
    of which nobody was told, `retold` those of which somebody was told by two notifications. `copies` are second
    deliveries, `unexplained` who got one outside the design's windows.
    """

    acknowledged: int
    lost: frozenset[Key]
    owed: frozenset[Key]
    retold: frozenset[Key]
    copies: int
    unexplained: frozenset[Key]


def compare(before: Facts, after: Facts, certain: set[Key]) -> Verdict:
    """`before` the crash; `after` has both; no recipient in `certain` may get another copy."""
    told = {key for key, notices in after.notices.items() if notices}
    missing = {key for key in after.acknowledged if not after.taken[key] and key not in told}
    owed = {key for key in missing if key in after.refused and key in after.settled}
    return Verdict(
        acknowledged=len(after.acknowledged),
        lost=frozenset(missing - owed),
        owed=frozenset(owed | (after.relayed - told)),
        retold=frozenset(key for key, notices in after.notices.items() if len(notices) > 1),
        copies=sum(times - 1 for times in after.taken.values() if times > 1),
        # Between an exchanger's 250 and our record, and nowhere else, a second copy may arise.
        unexplained=frozenset(
            key for key, times in after.taken.items() if times > max(1, before.taken[key] + (key not in certain))
        ),
    )
