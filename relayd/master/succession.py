"""The succession: which generation is in force, who of it comes when, and how those before it go.

One that dies is started again with a growing delay; one that was replaced is not, and its place is given back.
Refuses to know what made a new generation, and whether the relay ends.
"""

import time
from collections.abc import Iterable, Sequence

from relayd.base import events
from relayd.master import backoff
from relayd.master.children import Child
from relayd.master.family import Family
from relayd.master.generation import Generation, bury, generation
from relayd.master.post import Post
from relayd.master.reload import moves
from relayd.master.vigil import Vigil


class Succession:
    """`current` is the generation in force, from the start on that of the post."""

    def __init__(self, post: Post, family: Family, vigil: Vigil) -> None:
        self._post = post
        self._family = family
        self._vigil = vigil
        self.current = generation(post.plan, post.common)

    def start(self, now: float, coming: Iterable[Child]) -> None:
        """Fork those whose time has come, also of those that are `coming` and not in force yet."""
        for child in (*self.current.children, *coming):
            if child.due is not None and child.due <= now:
                self._family.fork(child)

    def move(self, now: float, coming: Sequence[Child]) -> bool:
        """Do whatever the present state calls for; give whether nothing is left to be replaced.

        The state alone counts: at a start, after a death, and while a generation is replaced.
        """
        process = self.current.config.process
        made = moves(self.current, [child for child in self._family.running if child not in coming])
        for child in made.begin:
            child.begin()
        for child in made.retire:
            if child.is_worker:
                by = now + process.drain_timeout + process.stop_timeout
                child.retire(process.drain_timeout, gently=True, by=by)
            else:
                child.retire(process.stop_timeout, by=now + process.stop_timeout)
        for child in made.fork:
            self._family.fork(child)
        return made.is_done

    def succeed(self, generation: Generation) -> None:
        """From here on this generation is the current one."""
        before, self.current = self.current, generation
        for child in before.children:
            if not child.pid:
                bury(child, self._post.common)
        log, config = self._post.log, generation.config
        log.speak(config.log.format)
        log.write(events.ConfigLoaded(source=str(config.source or "built-in defaults")))
        for warning in generation.plan.warnings:
            log.write(events.ConfigWarning(warning=warning))

    def died(self, child: Child, pid: int, reason: str) -> None:
        """One of the current generation is dead, and comes again."""
        now = time.monotonic()
        child.slot.fold_into(self._post.slot)
        child.deaths = backoff.deaths_in_a_row(child.deaths, now - child.began)
        pause = backoff.delay(child.deaths)
        child.due = now + pause
        child.restarts += 1
        self._vigil.died(now, child, reason)
        # "worker 3" is one of the workers.
        self._post.slot.add(f"{child.role.split()[0]}_restarts")
        self._post.log.write(
            events.ProcessDied(
                role=child.role, child=pid, reason=reason, restart_in_s=pause, in_a_row=child.deaths or None
            )
        )

    def gone(self, child: Child, pid: int, status: int, reason: str) -> None:
        """One is dead that nobody starts again: it was replaced, did not come to be, or the relay ends."""
        if child.place is None:
            # It was none of a generation's, and nothing of it is left.
            return
        bury(child, self._post.common)
        if status == 0:
            self._post.log.write(events.ProcessRetired(role=child.role, child=pid))
        else:
            self._post.log.write(events.ProcessDied(role=child.role, child=pid, reason=reason, restart_in_s=None))
