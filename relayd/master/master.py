"""The master: forks the children, starts them again when they die, and ends them in order.

One selector, no threads, no asyncio: whatever happens to mail, this loop stays simple enough to trust. Signal
handlers only wake it up. A child that ends before everything ran once stops the whole, with the reason; later it
is started again with a growing delay.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from relayd import __version__
from relayd.base import events
from relayd.base.bound import Bound
from relayd.base.channel import Garbled, Operate, Operated, Ready, Refused, Reopen, Retire
from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.base.sections import Config
from relayd.master import backoff, listeners
from relayd.master.children import HANDLED, Child
from relayd.master.control import Answers, Control, OperatePlease, StatusPlease, StopPlease
from relayd.master.herald import Herald, Told
from relayd.master.privileges import Identity
from relayd.master.report import Process, Report, listening, process, totals

# After the time that a stop may take, a child gets this much longer to notice, and is then killed.
_GRACE_SECONDS = 5.0
_CONTROL_SECONDS = 10.0


@dataclass(frozen=True)
class Post:
    """What the master is handed; `warnings` are for whoever started it."""

    config: Config
    identity: Identity
    bound: Sequence[Bound]
    control: Control
    slot: Slot
    log: Log
    herald: Herald
    warnings: Sequence[str] = ()


class Master:
    """Runs until it is told to stop; see `run`."""

    def __init__(self, post: Post, workers: Sequence[Child], delivery: Child) -> None:
        self._post = post
        self._delivery = delivery
        self._children = [*workers, delivery]
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._commands: dict[socket.socket, float] = {}
        # Commands that wait for the delivery process, by ticket.
        self._orders: dict[int, socket.socket] = {}
        self._last_ticket = 0
        self._was_ready = False
        self._failure: str | None = None
        self._stop_by: float | None = None
        self._began = time.time()

    def run(self) -> int:
        """Fork, watch, end; give the exit status."""
        self._listen_to_signals()
        self._selector.register(self._post.control, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, self._hear_signals)
        while True:
            now = time.monotonic()
            self._start_what_is_due(now)
            self._drop_silent_commands(now)
            if self._stop_by is not None and self._is_over(now):
                break
            for key, _ in self._selector.select(self._pause(now)):
                key.data()
        if self._failure is None:
            return 0
        self._post.herald.tell(Told(self._failure, 1))
        return 1

    # Children.

    def _start_what_is_due(self, now: float) -> None:
        if self._stop_by is not None:
            return
        for child in self._children:
            if child.due is not None and child.due <= now:
                child.fork(self._close_in_child, self._post.log)
                assert child.channel is not None
                self._selector.register(child.channel, selectors.EVENT_READ, lambda child=child: self._hear(child))

    def _close_in_child(self) -> None:
        self._post.herald.close()
        self._post.control.close()
        self._selector.close()
        self._wake.close()
        self._waker.close()
        for connection in (*self._commands, *self._orders.values()):
            connection.close()
        for child in self._children:
            if child.channel is not None:
                child.channel.close()

    def _hear(self, child: Child) -> None:
        if child.channel is None:
            return
        try:
            said = child.channel.receive()
        except BlockingIOError:
            return
        match said:
            case None:
                self._selector.unregister(child.channel)
            case Ready():
                child.is_ready = True
                self._post.log.write(events.ProcessReady(role=child.role))
                self._note_ready()
            case Refused():
                child.reason = said.reason
            case Operated():
                self._operated(said)
            case Garbled():
                self._post.log.write(
                    events.Bug(where=f"channel of {child.role}", traceback=f"no message: {said.beginning}")
                )

    def _note_ready(self) -> None:
        if self._was_ready or not all(child.is_ready for child in self._children):
            return
        self._was_ready = True
        self._post.log.write(
            events.ProcessReady(role="master", detail=f"listening at {listeners.in_words(self._post.bound)}")
        )
        self._post.herald.tell(Told(warnings=list(self._post.warnings)))

    def _reap(self) -> None:
        for child in self._children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, status: int) -> None:
        """Take in what it said last, fold its numbers, and decide when it comes again."""
        if child.channel is not None and child.channel.fileno() in self._selector.get_map():
            self._hear(child)
            if child.channel.fileno() in self._selector.get_map():
                self._selector.unregister(child.channel)
        lived = time.monotonic() - child.began
        pid = child.pid
        child.ended()
        if child is self._delivery:
            self._drop_orders()
        child.slot.fold_into(self._post.slot)
        if self._stop_by is not None and status == 0:
            self._post.log.write(events.ProcessRetired(role=child.role, child=pid))
            return
        reason = child.reason or _in_words(status)
        if not self._was_ready and self._stop_by is None:
            self._failure = child.reason or f"{child.role} died while it started ({reason}); the log may say why"
            self._stop(0.0)
            return
        child.deaths = backoff.deaths_in_a_row(child.deaths, lived)
        pause = backoff.delay(child.deaths)
        child.due = time.monotonic() + pause
        child.restarts += 1
        self._post.log.write(events.ProcessDied(role=child.role, child=pid, reason=reason, restart_in_s=pause))

    # The end.

    def _stop(self, seconds: float) -> None:
        now = time.monotonic()
        if self._stop_by is None or now + seconds < self._stop_by:
            self._stop_by = now + seconds
            for child in self._children:
                if child.channel is not None:
                    child.channel.send(Retire(seconds))

    def _is_over(self, now: float) -> bool:
        running = [child for child in self._children if child.pid]
        if not running:
            return True
        assert self._stop_by is not None
        if now >= self._stop_by + _GRACE_SECONDS:
            for child in running:
                child.kill()
        return False

    def _pause(self, now: float) -> float | None:
        dues = [child.due for child in self._children if child.due is not None and self._stop_by is None]
        dues += self._commands.values()
        if self._stop_by is not None:
            # Looked at often, since what is killed must also be waited for.
            dues.append(min(self._stop_by + _GRACE_SECONDS, now + 1.0))
        return max(0.0, min(dues) - now) if dues else None

    # Signals, which only wake the loop up.

    def _listen_to_signals(self) -> None:
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, lambda number, frame: None)

    def _hear_signals(self) -> None:
        try:
            numbers = self._wake.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                again = self._stop_by is not None
                self._stop(0.0 if again else self._post.config.process.stop_timeout)
            elif number == signal.SIGUSR1:
                self._reopen_log()
        self._reap()

    def _reopen_log(self) -> None:
        try:
            self._post.log.reopen()
        except OSError as error:
            self._post.log.write(events.ConfigWarning(warning=f"the log cannot be reopened: {error}"))
            return
        for child in self._children:
            if child.channel is not None:
                child.channel.send(Reopen())

    # Commands.

    def _accept(self) -> None:
        connection = self._post.control.accept()
        if connection is None:
            return
        self._commands[connection] = time.monotonic() + _CONTROL_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._obey(connection))

    def _drop_silent_commands(self, now: float) -> None:
        """One that has connected and says nothing would keep this loop awake."""
        for connection in [each for each, until in self._commands.items() if until <= now]:
            self._selector.unregister(connection)
            del self._commands[connection]
            connection.close()

    def _obey(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._commands[connection]
        match self._post.control.hear(connection):
            case StatusPlease():
                self._post.control.answer(connection, self._report())
            case StopPlease():
                self._stop(self._post.config.process.stop_timeout)
                self._post.control.answer(connection, self._report())
            case OperatePlease() as order:
                self._pass_on(connection, order)

    def _pass_on(self, connection: socket.socket, order: OperatePlease) -> None:
        """An order is for the delivery process, which answers in its own time."""
        self._last_ticket += 1
        channel = self._delivery.channel if self._delivery.is_ready else None
        said = Operate(self._last_ticket, order.verb, order.ids, order.recipient, order.notify)
        if channel is None or not channel.send(said):
            self._post.control.answer(
                connection, Answers(failure="the delivery process does not listen; try again")
            )
            return
        self._orders[self._last_ticket] = connection

    def _operated(self, said: Operated) -> None:
        connection = self._orders.pop(said.ticket, None)
        if connection is not None:
            self._post.control.answer(connection, Answers(results=said.results))

    def _drop_orders(self) -> None:
        """The delivery process is gone, and with it what it was told."""
        for connection in self._orders.values():
            self._post.control.answer(connection, Answers(failure="the delivery process ended; try again"))
        self._orders.clear()

    def _report(self) -> Report:
        slots = [self._post.slot, *(child.slot for child in self._children)]
        me = Process("master", os.getpid(), self._began, "running" if self._stop_by is None else "stopping")
        return Report(
            version=__version__,
            pid=os.getpid(),
            started=self._began,
            state=me.state if self._was_ready or self._stop_by is not None else "starting",
            user=self._post.identity.name,
            listening=listening(self._post.config, self._post.bound),
            processes=[me, *map(process, self._children)],
            totals=totals(slots),
        )


def _in_words(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
