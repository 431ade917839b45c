"""Reloads, one after the other, and those that wait for their outcome.

Whoever asks while one is under way is answered by the next, since what it is about may not have been read. Refuses
to replace anything: that is the master's, once a new generation has proved itself. What cannot even be begun is
an outcome too.
"""

import socket
import time
from collections.abc import Callable, Sequence

from relayd.base import events
from relayd.base.channel import Message, Ready
from relayd.master.children import GRACE_SECONDS, Child
from relayd.master.control import Outcome
from relayd.master.family import Family
from relayd.master.generation import Generation, Plan, bury, generation
from relayd.master.post import Post
from relayd.master.reader import Reader
from relayd.master.reload import Phase, Reload
from relayd.master.vigil import Vigil

# A replaced worker that is cut short has this long for its transactions.
_CUT_SECONDS = 2.0


class Reloads:
    """`succeed` makes a generation the current one, `plan` gives what is in force."""

    def __init__(
        self,
        post: Post,
        family: Family,
        vigil: Vigil,
        plan: Callable[[], Plan],
        succeed: Callable[[Generation], None],
    ) -> None:
        self._post = post
        self._family = family
        self._vigil = vigil
        self._plan = plan
        self._succeed = succeed
        self._reload: Reload | None = None
        self._has_succeeded = False
        self._askers: list[socket.socket] = []
        # Those of the next one; None when nobody wants one.
        self._next: list[socket.socket] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether there is one."""
        return self._reload is not None

    @property
    def children(self) -> Sequence[Child]:
        """Those that run for it, or are to, and are of no generation in force."""
        return () if self._reload is None else self._reload.children

    @property
    def due(self) -> float | None:
        """When to look again, on the monotonic clock."""
        if self._reload is None:
            return None
        dues = [self._reload.deadline, *(child.due for child in self._reload.children)]
        return min((due for due in dues if due is not None), default=None)

    def ask(self, asker: socket.socket | None) -> None:
        """Read the configuration anew and replace everything; `asker` is answered when that is over."""
        askers = [] if asker is None else [asker]
        if self._reload is not None:
            self._next = [*(self._next or ()), *askers]
        else:
            self._begin(askers)

    def _begin(self, askers: list[socket.socket]) -> None:
        try:
            reader = Reader(self._plan(), self._post.identity, self._post.common.bound)
        except OSError as error:
            self._refused(askers, Outcome(False, f"the master: {error.strerror or error}"))
            return
        now = time.monotonic()
        self._vigil.reloading(now)
        self._askers, self._has_succeeded = askers, False
        self._reload = Reload(reader, lambda plan: generation(plan, self._post.common), now)

    def said(self, child: Child, said: Message) -> None:
        """One of its children said something."""
        if self._reload is not None and child is self._reload.reader.child and isinstance(said, Ready):
            self._reload.has_read()

    def ended(self, child: Child, reason: str) -> None:
        """A child has ended that is of no generation in force."""
        if self._reload is not None:
            self._reload.ended(child, reason)

    def tend(self, now: float) -> None:
        """Go on as far as it can."""
        if self._reload is None:
            return
        self._reload.step(now)
        if self._reload.phase is Phase.ROOM:
            self._make_room(now)
        elif self._reload.phase is Phase.REPLACING and not self._has_succeeded:
            assert self._reload.generation is not None
            self._has_succeeded = True
            self._succeed(self._reload.generation)
        if self._reload.outcome is not None:
            self._end(self._reload, self._reload.outcome)

    def replaced(self, now: float) -> None:
        """Nothing of the generations before is left to be replaced."""
        if self._reload is not None and self._reload.phase is Phase.REPLACING:
            self._reload.done()
            self.tend(now)

    def stop(self) -> None:
        """The relay ends, and this with it."""
        self._answer([*self._askers, *(self._next or ())], Outcome(False, "the relay is stopping"))
        self._askers, self._next = [], None
        if self._reload is not None:
            self._reload.reader.child.kill()

    def close(self, child: Child) -> None:
        """Give up in a child what is not for it; the reader alone keeps what it writes to."""
        for asker in (*self._askers, *(self._next or ())):
            asker.close()
        if self._reload is not None and child is not self._reload.reader.child:
            self._reload.reader.close()

    def _make_room(self, now: float) -> None:
        """Too many replaced workers still retire: as many of the oldest as are to come have to end now."""
        retiring = [child for child in self._family.running if child.retire_by is not None and child.is_worker]
        for child in retiring[: self._post.common.workers]:
            if child.retire_by is not None and child.retire_by > now + _CUT_SECONDS + GRACE_SECONDS:
                child.retire(_CUT_SECONDS, by=now + _CUT_SECONDS)

    def _end(self, reload: Reload, outcome: Outcome) -> None:
        reload.reader.child.kill()
        reload.reader.close()
        askers, self._askers = self._askers, []
        if self._has_succeeded:
            self._answer(askers, outcome)
        else:
            self._refused(askers, outcome)
            for child in () if reload.generation is None else reload.generation.children:
                child.cut()
                if not child.pid:
                    bury(child, self._post.common)
        self._reload = None
        self._vigil.ready()
        following, self._next = self._next, None
        if following is not None:
            self._begin(following)

    def _refused(self, askers: Sequence[socket.socket], outcome: Outcome) -> None:
        source = str(self._plan().config.source or "built-in defaults")
        self._post.log.write(events.ConfigRefused(source=source, reason=outcome.reason))
        self._answer(askers, outcome)

    def _answer(self, askers: Sequence[socket.socket], outcome: Outcome) -> None:
        for asker in askers:
            self._post.control.answer(asker, outcome)
