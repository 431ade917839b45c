"""The master: forks the children, starts them again when they die, replaces them, and ends them in order.

One selector, no threads, no asyncio: whatever happens to mail, this loop stays simple enough to trust. Signal
handlers only wake it up. A child that ends before everything ran once stops the whole, with the reason; later it
is started again with a growing delay.
"""

import selectors
import signal
import socket
import time
import traceback
from collections.abc import Sequence

from relayd.base import events
from relayd.base.channel import Garbled, Message, Operated, Ready
from relayd.master import handover, listeners, notify
from relayd.master.children import Child
from relayd.master.commands import Commands
from relayd.master.control import (
    OperatePlease,
    Outcome,
    ReloadPlease,
    Request,
    StatusPlease,
    StopPlease,
    UpgradePlease,
)
from relayd.master.family import Family, in_words
from relayd.master.generation import Generation
from relayd.master.handover import State
from relayd.master.herald import Told
from relayd.master.leaving import leave
from relayd.master.post import Post
from relayd.master.reload import NO_ROOM
from relayd.master.reloads import Reloads
from relayd.master.report import Report, listening, report
from relayd.master.signals import Signals
from relayd.master.succession import Succession
from relayd.master.upgrade import Adopted, Upgrade
from relayd.master.vigil import Vigil

_KILLED_SECONDS = 1.0


class Master:
    """Runs until it is told to stop; see `run`."""

    def __init__(self, post: Post, adopted: Adopted | None = None) -> None:
        """`adopted` is what a master has left that was executed into this one."""
        self._post = post
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()
        self._family = Family(self._selector, post.log, self._close_in_child, self._said, self._ended)
        self._commands = Commands(self._selector, post.control, self._obey)
        self._adopted = adopted
        self._was_ready = adopted is not None
        self._failure: str | None = None
        self._stop_by: float | None = None
        self._began = time.time()
        board = post.common.board
        self._slots = [board.slot(index) for index in range(board.slots)]
        self._vigil = Vigil(time.monotonic(), self._slots, post.log.write, notify.from_environment())
        self._succession = Succession(post, self._family, self._vigil)
        self._upgrade = Upgrade(
            self._selector,
            self._state,
            post.control.answer,
            self._not_upgraded,
            self._signals.heard,
            time.monotonic(),
            adopted,
            post.plan.warnings,
        )
        self._reloads = Reloads(
            post, self._family, self._vigil, lambda: self._current.plan, self._succession.succeed
        )

    @property
    def _current(self) -> Generation:
        return self._succession.current

    def run(self) -> int:
        """Fork, watch, end; give the exit status. What is raised here is a bug, and the end."""
        try:
            return self._run()
        except Exception as error:
            self._post.slot.add("bugs")
            told = "".join(traceback.format_exception(error))
            self._post.log.write(events.Bug(where="master", traceback=told))
            raise

    def _run(self) -> int:
        self._signals.listen()
        self._selector.register(self._signals, selectors.EVENT_READ, self._hear_signals)
        if self._adopted is None:
            for child in self._current.children:
                child.due = 0.0
        else:
            self._adopt(self._adopted)
        while True:
            now = time.monotonic()
            self._family.kill_overdue(now)
            self._commands.drop_silent(now)
            if self._stop_by is None:
                self._reloads.tend(now)
                self._upgrade.tend(now)
                self._succession.start(now, self._reloads.children)
                self._move(now)
                self._vigil.look(now, self._current.config.health, self._current.children, self._family.running)
            else:
                self._family.leave_stuck(now)
                if not self._family.running:
                    break
            # Lines that could not be written are tried again when nothing else happens.
            self._post.log.flush()
            for key, _ in self._selector.select(self._pause(now)):
                key.data()
        if self._failure is None:
            return 0
        self._post.herald.tell(Told(self._failure, 1))
        return 1

    # Children.

    def _move(self, now: float) -> None:
        if self._succession.move(now, self._reloads.children):
            if self._upgrade.replaced():
                self._vigil.ready()
            self._reloads.replaced(now)

    def _close_in_child(self, child: Child) -> None:
        self._post.herald.close()
        self._post.pid_file.close()
        self._selector.close()
        self._signals.close()
        self._commands.close()
        self._upgrade.close()
        self._reloads.close(child)

    def _said(self, child: Child, said: Message) -> None:
        match said:
            case Ready() if child in self._current.children:
                self._post.log.write(events.ProcessReady(role=child.role, child=child.pid))
                self._note_ready()
            case Ready():
                self._reloads.said(child, said)
            case Operated():
                self._commands.operated(said)
            case Garbled():
                # The family has written it down.
                self._post.slot.add("bugs")

    def _note_ready(self) -> None:
        if self._was_ready or not all(child.is_ready for child in self._current.children):
            return
        self._was_ready = True
        self._post.log.write(
            events.ProcessReady(role="master", detail=f"listening at {listeners.in_words(self._current.bound)}")
        )
        self._post.herald.tell(Told(warnings=list(self._post.plan.warnings)))
        self._vigil.ready()

    def _ended(self, child: Child, pid: int, status: int) -> None:
        """Decide whether it comes again."""
        reason = child.reason or in_words(status)
        if child.role == "delivery" and not any(
            each.role == "delivery" and each.is_ready for each in self._family.running
        ):
            self._commands.drop_orders()
        if self._stop_by is not None:
            self._succession.gone(child, pid, status, reason)
        elif child not in self._current.children:
            self._reloads.ended(child, reason)
            self._succession.gone(child, pid, status, reason)
        elif self._was_ready:
            self._succession.died(child, pid, reason)
        else:
            self._failure = child.reason or f"{child.role} died while it started ({reason}); the log may say why"
            self._stop(0.0)

    # Upgrades.

    def _adopt(self, adopted: Adopted) -> None:
        """Take up what runs; `moves` then replaces it one by one, beginning with whom it can compare them with."""
        self._began = adopted.began
        self._vigil.reloading(time.monotonic())
        for child in adopted.children:
            self._family.adopt(child)
        self._commands.adopt(adopted.commands, adopted.orders, adopted.last_ticket)
        for child in (self._current.workers[0], *self._current.singles):
            child.due = 0.0
        handover.let_signals_through()
        # Those that ended meanwhile may have been told before anybody listened.
        self._family.reap()

    def _begin_upgrade(self, asker: socket.socket, command: Sequence[str]) -> None:
        common = self._post.common
        why = self._why_not_now()
        if why is None and self._reloads.is_under_way:
            why = "a reload is under way; try again"
        if why is None and not common.places.has(common.workers, len(self._current.singles)):
            why = NO_ROOM
        if why is None:
            self._upgrade.begin(asker, command, time.monotonic())
        else:
            self._post.control.answer(asker, Outcome(False, why))

    def _why_not_now(self) -> str | None:
        """Why nothing can be replaced, if it cannot."""
        if self._stop_by is not None:
            return "the relay is stopping"
        if not self._was_ready:
            return "the relay is starting; try again"
        # It reads the configuration too, but perhaps it has already.
        return "an upgrade is under way; try again" if self._upgrade.is_under_way else None

    def _not_upgraded(self, reason: str) -> None:
        source = str(self._current.config.source or "built-in defaults")
        self._post.log.write(events.ConfigRefused(source=source, reason=f"not upgraded: {reason}"))

    def _state(self, asker: socket.socket) -> State:
        self._post.log.flush()
        return leave(self._post, self._current.plan, self._family, self._commands, self._began, asker)

    # Reloading.

    def _reload(self, asker: socket.socket | None) -> None:
        why = self._why_not_now()
        if why is None:
            self._reloads.ask(asker)
            return
        self._post.log.write(events.ConfigWarning(warning=f"not reloaded: {why}"))
        if asker is not None:
            self._post.control.answer(asker, Outcome(False, why))

    # The end.

    def _stop(self, seconds: float) -> None:
        now = time.monotonic()
        if self._stop_by is None or now + seconds < self._stop_by:
            self._stop_by = now + seconds
            self._reloads.stop()
            self._upgrade.stop()
            self._vigil.stopping()
            self._family.retire_all(seconds, by=self._stop_by)

    def _pause(self, now: float) -> float | None:
        dues = [self._commands.next_drop(), self._family.next_kill()]
        if self._stop_by is None:
            dues += [self._vigil.due, self._upgrade.due, self._reloads.due]
            dues += [child.due for child in self._current.children]
        known = [due for due in dues if due is not None]
        # What is killed must also be waited for, and a moment later is soon enough.
        return max(0.0 if min(known) > now else _KILLED_SECONDS, min(known) - now) if known else None

    def _hear_signals(self) -> None:
        for number in self._signals.heard():
            if number in (signal.SIGTERM, signal.SIGINT):
                again = self._stop_by is not None
                self._stop(0.0 if again else self._current.config.process.stop_timeout)
            elif number == signal.SIGHUP:
                self._reload(None)
            elif number == signal.SIGUSR1:
                self._reopen_log()
        self._family.reap()

    def _reopen_log(self) -> None:
        try:
            self._post.log.reopen()
        except OSError as error:
            self._post.log.write(events.ConfigWarning(warning=f"the log cannot be reopened: {error}"))
            return
        self._family.reopen_log()

    # Commands.

    def _obey(self, connection: socket.socket, request: Request) -> None:
        match request:
            case StatusPlease():
                self._post.control.answer(connection, self._report())
            case StopPlease():
                self._stop(self._current.config.process.stop_timeout)
                self._post.control.answer(connection, self._report())
            case ReloadPlease():
                self._reload(connection)
            case UpgradePlease():
                self._begin_upgrade(connection, request.command)
            case OperatePlease() as order:
                ready = [each for each in self._family.running if each.role == "delivery" and each.is_ready]
                self._commands.pass_on(connection, order, ready[-1] if ready else self._current.delivery)

    def _report(self) -> Report:
        running = self._family.running
        # What reads a configuration is over in a moment, and none of the relay's processes.
        others = [each for each in running if each not in self._current.children and each.place is not None]
        config, wanted = self._current.config, self._current.children
        state = "stopping" if self._stop_by is not None else "running" if self._was_ready else "starting"
        return report(
            began=self._began,
            state=state,
            user=self._post.identity.name,
            listening=listening(config, self._current.bound),
            children=[*wanted, *others],
            slots=self._slots,
            condition=self._vigil.condition(time.monotonic(), config.health, wanted, running),
        )
