"""The watch: what the master does about a child that makes no progress.

It is asked where it hangs, told in the log with the stacks of its threads, and killed; so it is replaced. One that
the disk holds up is told alone, once a minute: a kill would not reach it, and what it has begun may end well.
Refuses to start the next one.
"""

from collections.abc import Callable, Sequence

from relayd.base.events import Event, ProcessHung
from relayd.master import stack
from relayd.master.children import Child
from relayd.master.waits import why_it_waits
from relayd.master.watchdog import Finding, Pulse, Wait, Watchdog

# How often it looks: a hang of half a minute shows soon enough, and the master sleeps meanwhile.
_EVERY_SECONDS = 5.0
# So long a child may take to say where it hangs.
_ANSWER_SECONDS = 1.0
# How often it is told again what the disk holds up.
_REPEAT_SECONDS = 60.0
_WORDS: dict[Wait, str] = {
    "disk": "it waits for the disk",
    "stopped": "it is stopped, by SIGSTOP or a debugger",
    "other": "it makes no progress",
}


class Watch:
    """`due` is when to look again, on the monotonic clock; `stuck` says who makes no progress, in words by pid."""

    def __init__(
        self,
        write: Callable[[Event], None],
        now: float,
        *,
        dog: Watchdog | None = None,
        why: Callable[[Pulse], Wait] = why_it_waits,
    ) -> None:
        self._write = write
        self._dog = dog or Watchdog()
        self._why = why
        # Who was asked for its stack, and when to be content with what it has said; who was told, and when.
        self._asked: dict[int, float] = {}
        self._told: dict[int, float] = {}
        self.stuck: dict[int, str] = {}
        self.due = now

    def look(self, now: float, children: Sequence[Child]) -> None:
        """Look at all that run, when it is due."""
        if now < self.due:
            return
        by_pid = {child.pid: child for child in children if child.pid}
        pulses = [
            Pulse(pid, *map(child.slot.get, ("heartbeat", "disk_since", "large_since")))
            for pid, child in by_pid.items()
            # One that works and has never beaten writes its numbers where we cannot read them: it is of another
            # version, from before an upgrade.
            if child.slot.get("heartbeat") or not child.is_ready
        ]
        found = {each.pid: each for each in self._dog.look(now, pulses, self._why)}
        self._asked = {pid: until for pid, until in self._asked.items() if pid in found}
        self._told = {pid: at for pid, at in self._told.items() if pid in found and now - at < _REPEAT_SECONDS}
        self.stuck = {
            pid: f"{by_pid[pid].role} (pid {pid}) hangs: {_WORDS[each.wait]} for {each.seconds:.0f} s"
            for pid, each in found.items()
        }
        for each in found.values():
            if each.replace or each.pid not in self._told:
                self._act(now, by_pid[each.pid], each)
        self.due = min([now + _EVERY_SECONDS, *self._asked.values()])

    def _act(self, now: float, child: Child, found: Finding) -> None:
        """First it is asked, and at the next look it has had its time to say where it is."""
        until = self._asked.get(child.pid)
        if until is None:
            self._asked[child.pid] = now + _ANSWER_SECONDS
            if child.stack is not None:
                child.stack.ask(child.pid)
            return
        if now < until:
            return
        del self._asked[child.pid]
        self._told[child.pid] = now
        self._write(
            ProcessHung(
                role=child.role,
                child=child.pid,
                reason=_WORDS[found.wait],
                seconds=found.seconds,
                killed=found.replace,
                stack="" if child.stack is None else stack.in_words(child.stack.read()),
            )
        )
        if found.replace:
            child.reason = f"it hung for {found.seconds:.0f} s"
            child.kill()
