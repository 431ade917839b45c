"""A reload: from the request to its outcome, as a machine without I/O.

It reads and checks the configuration (in a child), starts one worker and the delivery process of a new generation,
and waits until both have proved that they can work. Until then nothing of the old one has noticed anything, and
whatever fails ends the reload alone. After that the new generation is the current one: `moves` says, again and
again until nothing is left to do, who of it is next and who of the others can go. Refuses to fork, tell or kill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from relayd.master.children import Child
from relayd.master.control import Outcome
from relayd.master.generation import Generation, Plan
from relayd.master.reader import Reader

# So long reading, booting and the session that proves it may take together.
PROVING_SECONDS = 30.0
# After so long whoever asked is told that it still goes on.
REPLACING_SECONDS = 120.0


class Phase(Enum):
    """How far it is."""

    READING = auto()
    ROOM = auto()
    PROVING = auto()
    REPLACING = auto()
    OVER = auto()


class Reload:
    """One. `make` makes the new generation; it raises IndexError while too many replaced workers still retire."""

    def __init__(self, reader: Reader, make: Callable[[Plan], Generation], now: float) -> None:
        self._make = make
        self._deadline = now + PROVING_SECONDS
        self._plan: Plan | None = None
        self.reader = reader
        self.phase = Phase.READING
        self.generation: Generation | None = None
        self.outcome: Outcome | None = None

    @property
    def deadline(self) -> float | None:
        """When it will have failed, or be told of."""
        return None if self.outcome is not None else self._deadline

    @property
    def children(self) -> Sequence[Child]:
        """Those that run for it and are not of the current generation."""
        if self.phase is Phase.READING:
            return (self.reader.child,)
        return self.generation.children if self.phase is Phase.PROVING and self.generation is not None else ()

    def has_read(self) -> None:
        """The configuration is good."""
        if self.phase is Phase.READING:
            self._plan = self.reader.plan()
            self.phase = Phase.ROOM

    def step(self, now: float) -> None:
        """Go on as far as it can."""
        if self.phase is Phase.ROOM:
            self._make_room()
        if self.phase is Phase.PROVING and all(child.is_waiting for child in self._first):
            self.phase = Phase.REPLACING
            self._deadline = now + REPLACING_SECONDS
        elif self.phase in (Phase.READING, Phase.ROOM, Phase.PROVING) and now >= self._deadline:
            late = [child.role for child in self.children if child.pid and not child.is_waiting]
            what = f"the new {' and '.join(late)}" if late else "the reload"
            self.fail(f"{what} did not come so far within {PROVING_SECONDS:.0f} s")
        elif self.phase is Phase.REPLACING and self.outcome is None and now >= self._deadline:
            assert self.generation is not None
            late = [child.role for child in self.generation.children if not child.is_ready]
            self.outcome = Outcome(
                False, f"the new configuration is in force, but this is not ready yet: {', '.join(late)}"
            )

    def _make_room(self) -> None:
        assert self._plan is not None
        try:
            self.generation = self._make(self._plan)
        except IndexError:
            return
        for child in self._first:
            child.due = 0.0
        self.phase = Phase.PROVING

    @property
    def _first(self) -> list[Child]:
        assert self.generation is not None
        return [self.generation.workers[0], *self.generation.singles]

    def ended(self, child: Child, reason: str) -> None:
        """A child of it has died before it could prove itself."""
        if child in self.children:
            self.fail(child.reason or f"the new {child.role} died ({reason}); the log may say why")

    def fail(self, reason: str) -> None:
        """Leave everything as it was; after that nothing can fail any more."""
        if self.phase in (Phase.READING, Phase.ROOM, Phase.PROVING):
            self.phase = Phase.OVER
            self.outcome = Outcome(False, reason)

    def done(self) -> None:
        """Everything is replaced."""
        self.phase = Phase.OVER
        if self.outcome is None:
            assert self._plan is not None
            self.outcome = Outcome(True, warnings=tuple(self._plan.warnings))


@dataclass(frozen=True, slots=True)
class Moves:
    """What is to be done next: who is forked, who may begin, and who of the other generations retires."""

    fork: list[Child] = field(default_factory=list)
    begin: list[Child] = field(default_factory=list)
    retire: list[Child] = field(default_factory=list)
    is_done: bool = False


def moves(current: Generation, running: Sequence[Child]) -> Moves:
    """One by one: an old worker goes when there is a new one that serves, a single one when its successor waits.

    So there are never fewer workers than configured, and the successor of a single one begins when that is dead.
    """
    made = Moves()
    old = [child for child in running if child not in current.children and child.retire_by is None]
    old_workers = [child for child in old if child.is_worker]
    workers = current.workers
    serving = [child for child in workers if child.is_ready]
    surplus = max(0, len(serving) + len(old_workers) - len(workers))
    made.retire.extend(old_workers[:surplus])
    made.begin.extend(child for child in workers if child.is_waiting and not child.has_begun)
    if all(child.is_ready or not child.pid for child in workers):
        made.fork.extend([child for child in workers if not child.pid and child.due is None][:1])
    for single in current.singles:
        if not single.is_waiting or single.has_begun:
            continue
        others = [child for child in running if child.role == single.role and child is not single]
        made.retire.extend(child for child in others if child in old)
        # One that waits itself has nothing that would have to be given up first.
        if not any(child.has_begun for child in others):
            made.begin.append(single)
    gone = [child for child in old if child.is_single and all(child.role != each.role for each in current.singles)]
    made.retire.extend(gone)
    is_over = not old and all(child.is_ready for child in current.children)
    return Moves(made.fork, made.begin, made.retire, is_over)
