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
NO_ROOM = "replaced workers still have too many sessions; try again later"


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
        # When it will have failed, on the monotonic clock.
        self.deadline = now + PROVING_SECONDS
        self._plan: Plan | None = None
        self.reader = reader
        self.phase = Phase.READING
        self.generation: Generation | None = None
        self.outcome: Outcome | None = None

    @property
    def children(self) -> Sequence[Child]:
        """Those that run for it and are not of the current generation."""
        if self.phase is Phase.READING:
            return (self.reader.child,)
        return self._made.children if self.phase is Phase.PROVING else ()

    def has_read(self) -> None:
        """The configuration is good."""
        if self.phase is Phase.READING:
            self._plan = self.reader.plan()
            self.phase = Phase.ROOM

    def step(self, now: float) -> None:
        """Go on as far as it can."""
        if self.phase is Phase.ROOM:
            self._make_generation()
        if self.phase is Phase.PROVING and all(child.is_waiting for child in self._first):
            self.phase = Phase.REPLACING
            # What the old delivery process has begun may take the time of a stop.
            self.deadline = now + REPLACING_SECONDS + self._made.config.process.stop_timeout
        elif now >= self.deadline:
            self._is_late()

    def _is_late(self) -> None:
        if self.phase is Phase.REPLACING:
            # It still may become so; and what comes next may be the reload that mends it.
            late = [
                child.role + (f" ({child.reason})" if child.reason else "")
                for child in self._made.children
                if not child.is_ready
            ]
            self._end(Outcome(False, f"the new configuration is in force, but not ready yet: {', '.join(late)}"))
        elif self.phase is Phase.ROOM:
            self.fail(NO_ROOM)
        else:
            late = [child.role for child in self.children if child.pid and not child.is_waiting]
            self.fail(f"the new {' and '.join(late)} did not come so far within {PROVING_SECONDS:.0f} s")

    def _make_generation(self) -> None:
        assert self._plan is not None
        try:
            self.generation = self._make(self._plan)
        except IndexError:
            return
        for child in self._first:
            child.due = 0.0
        self.phase = Phase.PROVING

    @property
    def _made(self) -> Generation:
        assert self.generation is not None
        return self.generation

    @property
    def _first(self) -> list[Child]:
        return [self._made.workers[0], *self._made.singles]

    def ended(self, child: Child, reason: str) -> None:
        """A child of it has died before it could prove itself."""
        if child in self.children:
            self.fail(child.reason or f"the new {child.role} died ({reason}); the log may say why")

    def fail(self, reason: str) -> None:
        """Leave everything as it was; after that nothing can fail any more."""
        if self.phase in (Phase.READING, Phase.ROOM, Phase.PROVING):
            self._end(Outcome(False, reason))

    def done(self) -> None:
        """Everything is replaced."""
        self._end(Outcome(True, warnings=tuple(self._made.plan.warnings)))

    def _end(self, outcome: Outcome) -> None:
        self.phase = Phase.OVER
        self.outcome = outcome


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
    # What has no place, as a reader, is of no generation, and ends by itself.
    others = [child for child in running if child not in current.children and child.place is not None]
    old = [child for child in others if child.retire_by is None]
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
        before = [child for child in others if child.role == single.role]
        made.retire.extend(child for child in before if child in old)
        # One that waits itself has nothing that would have to be given up first.
        if not any(child.has_begun for child in before):
            made.begin.append(single)
    gone = [child for child in old if child.is_single and all(child.role != each.role for each in current.singles)]
    made.retire.extend(gone)
    is_over = not old and all(child.is_ready for child in current.children)
    return Moves(made.fork, made.begin, made.retire, is_over)
