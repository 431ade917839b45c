"""Adoption: new code takes up, in the same process, what a master that executed it has left.

`check` says beforehand whether it could: it reads and checks everything, and has a worker and a delivery process
of this code prove that they can work, and touches nothing. `adopt` works on copies of the descriptors and gives
the others up at its end, so that whatever fails before leaves the state whole for the code that it came from.
That code looks at nothing anew when it is back: the relay runs, and must go on. Fails with StartFailed and
ConfigError.
"""

import mmap
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import setproctitle

from relayd import __version__
from relayd.base import events
from relayd.base.bound import Bound
from relayd.base.channel import Channel
from relayd.base.config import Config
from relayd.base.counters import Board, Slot
from relayd.base.log import Log
from relayd.base.loop import factory
from relayd.base.sections import Listener
from relayd.base.tally import Tally
from relayd.master import descriptors, extras, privileges
from relayd.master.children import Child
from relayd.master.control import Control
from relayd.master.family import Family
from relayd.master.fixed import changed, fixed
from relayd.master.generation import Common, Plan, generation, workers_of
from relayd.master.handover import Kin, State
from relayd.master.herald import Herald
from relayd.master.looks import reach_spool, second_looks
from relayd.master.master import Master
from relayd.master.pidfile import PidFile
from relayd.master.places import MASTER, Place, Places, room_for
from relayd.master.post import Post
from relayd.master.preload import preload
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed
from relayd.master.upgrade import Adopted
from relayd.spool.hint import Hints

# A delivery process waits so long for one that the master does not know of.
_LOCK_SECONDS = 1.0
# Between the end of a child's channel and its own.
_LOOK_SECONDS = 0.05


def check(state: State) -> None:
    """Fail if this code could not take the state up; nothing that runs notices it."""
    plan, _ = _look(state)
    _import(plan.config)
    # Whether it can be opened; what the children of a trial do belongs into no log.
    _open_log(plan.config, state)
    log = Log(plan.config.log.format, None, fd=os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    room = room_for(workers_of(plan.config))
    board, tally = Board(1 + 2 * room), Tally(room)
    places = Places(board.slots, tally.parts)
    bound = _doors(state)
    _try_out(plan, Common(bound, Hints(), board, tally, places, log, workers_of(plan.config), _LOCK_SECONDS))


def _try_out(plan: Plan, common: Common) -> None:
    """Start a worker and each process of which there is one, as far as they go without taking anything."""
    made = generation(plan, common)
    first = [made.workers[0], *made.singles]
    reasons: list[str] = []

    def ended(child: Child, _: int, status: int) -> None:
        reasons.append(child.reason or f"the new {child.role} died (status {status})")

    with selectors.DefaultSelector() as selector:
        family = Family(selector, common.log, lambda child: selector.close(), lambda child, said: None, ended)
        for child in first:
            family.fork(child)
        try:
            while not reasons and not all(child.is_waiting for child in first):
                for key, _ in selector.select(_LOOK_SECONDS):
                    key.data()
                family.reap()
        finally:
            for child in family.running:
                child.kill()
                os.waitpid(child.pid, 0)
    if reasons:
        raise StartFailed(reasons[0])


def adopt(state: State, command: Sequence[str]) -> Callable[[], int]:
    """Take everything up; give what runs the master then, to its end. `command` is what executes this code."""
    plan, identity = _look(state)
    setproctitle.setproctitle("relayd: master")
    _import(plan.config)
    log = _open_log(plan.config, state)
    pid_file = PidFile(plan.config.process.pid_file, os.dup(state.lock))
    pid_file.claim(identity)
    control = Control(plan.config.process.pid_file, identity, os.dup(state.control))
    common, children = _shared(state, plan, log)
    adopted = Adopted(
        children,
        state.began,
        None if state.asker is None else _copy(state.asker),
        [_copy(fd) for fd in state.commands],
        {ticket: _copy(fd) for ticket, fd in state.orders.items()},
        state.last_ticket,
        state.failure,
    )
    log_file = None if state.log_file is None else Path(state.log_file)
    slot = common.board.slot(MASTER)
    master = Master(
        Post(plan, common, identity, pid_file, control, slot, log, Herald(), log_file, tuple(command)), adopted
    )
    # From here on nothing can fail, and the copies are all that is needed: also of what this code does not know,
    # only they are closed by an exec.
    descriptors.give_up_foreign()
    log.write(events.ProcessStarted(role="master", version=__version__))
    log.write(events.ConfigLoaded(source=str(plan.config.source or "built-in defaults")))
    for warning in plan.warnings:
        log.write(events.ConfigWarning(warning=warning))

    def run() -> int:
        try:
            status = master.run()
            log.write(events.ProcessRetired(role="master", child=os.getpid()))
            log.flush()
        finally:
            control.remove()
            pid_file.remove()
        return status

    return run


def _look(state: State) -> tuple[Plan, Identity]:
    if state.failure:
        # The file may be one for other code by now, and what it names may be gone; the processes that run have it.
        config = state.source.config()
        return Plan(state.source, config), privileges.choose(config.process, config.spool.directory)
    source = state.source.read()
    config = source.config()
    other = changed(state.fixed, fixed(config))
    if other is not None:
        raise StartFailed(f"{other} has changed; restart needed")
    identity = privileges.choose(config.process, config.spool.directory)
    reach_spool(config.spool.directory, identity)
    return Plan(source, config, second_looks(config, identity, descriptors.raise_limit())), identity


def _import(config: Config) -> None:
    preload()
    factory()
    extras.load(config)


def _open_log(config: Config, state: State) -> Log:
    path = None if state.log_file is None else Path(state.log_file)
    try:
        return Log(config.log.format, path)
    except OSError as error:
        raise StartFailed(f"log file {path}: {error.strerror}") from None


def _doors(state: State) -> list[Bound]:
    """The sockets; a generation puts its own listeners in the place of these, which are no more than written."""
    written: dict[int, Listener] = {}
    return [
        Bound(_copy(door.fd), written.setdefault(door.listener, Listener(door.address, door.port)))
        for door in state.doors
    ]


def _shared(state: State, plan: Plan, log: Log) -> tuple[Common, list[Child]]:
    """The memory that is shared, and the children that were there; code of another layout begins with its own."""
    shared, workers = state.shared, workers_of(plan.config)
    hints = Hints.of(*(os.dup(fd) for fd in shared.hints))
    try:
        board, tally = Board.of(os.dup(shared.board)), Tally.of(os.dup(shared.tally))
        taken = [Place(kin.slot, kin.part) for kin in state.children]
        places = Places(board.slots, tally.parts, taken)
        children = [
            _child(kin, board.slot(kin.slot), place) for kin, place in zip(state.children, taken, strict=True)
        ]
    except ValueError:
        room = room_for(workers)
        board, tally = Board(1 + 2 * room), Tally(room)
        board.slot(MASTER).grow(state.totals)
        places = Places(board.slots, tally.parts)
        children = [_child(kin, _nowhere(), places.take(worker=kin.part is not None)) for kin in state.children]
    bound = _doors(state)
    return Common(bound, hints, board, tally, places, log, workers, _LOCK_SECONDS), children


def _child(kin: Kin, slot: Slot, place: Place) -> Child:
    return Child(
        kin.role,
        _never,
        slot,
        place,
        is_single=kin.is_single,
        pid=kin.pid,
        channel=Channel(_copy(kin.channel)),
        began=kin.began,
        started=kin.started,
        is_waiting=kin.is_waiting,
        has_begun=kin.has_begun,
        is_ready=kin.is_ready,
        restarts=kin.restarts,
        retire_by=kin.retire_by,
    )


def _copy(fd: int) -> socket.socket:
    copy = socket.socket(fileno=os.dup(fd))
    copy.setblocking(False)
    return copy


def _never(channel: Channel) -> int:
    raise AssertionError("what was adopted is not forked again")


def _nowhere() -> Slot:
    """Numbers for a child that writes its own where this code cannot read them."""
    return Slot(memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q"))
