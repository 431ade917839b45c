"""Boot: the way from a configuration to a running master, in the order in which things can go wrong.

Bind, lock, pid file, then away with root, then the first fork. Every failure is a StartFailed before anything
runs; what was taken until then is given back.
"""

import gc
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import setproctitle

from relayd import __version__
from relayd.base import events
from relayd.base.bound import Bound
from relayd.base.config import Config
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.loop import factory
from relayd.base.source import Source
from relayd.base.tally import Tally
from relayd.master import descriptors, extras, handover, listeners, privileges
from relayd.master.control import Control
from relayd.master.generation import Common, Plan, workers_of
from relayd.master.herald import Herald
from relayd.master.inherited import Passed, take
from relayd.master.looks import reach_spool, second_looks
from relayd.master.master import Master
from relayd.master.ownership import check_folders, check_spool, own_file
from relayd.master.pidfile import PidFile
from relayd.master.places import MASTER, Places, room_for
from relayd.master.post import Post
from relayd.master.preload import preload
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed
from relayd.spool.errors import WrongSpool
from relayd.spool.hint import Hints
from relayd.spool.layout import Layout

# What a killed master leaves closes its listeners at once and ends in bounded time; so long a start waits for it.
_PATIENCE_SECONDS = 15.0
# How long a delivery process that was just killed may take to be gone; one whose master was killed has, beside
# that, the time that a stop may take.
_LOCK_SECONDS = 1.0


def run(
    source: Source, config: Config, log_file: Path | None, herald: Herald, passed: Sequence[Passed] = ()
) -> int:
    """Be the master until it is stopped; give the exit status. Raises StartFailed.

    `config` is what was read from `source`; `log_file` None is standard error. The herald tells when everything
    runs, or why it cannot. Sockets that were `passed` to this process are the listeners, instead of new ones.
    """
    signal.signal(signal.SIGTERM, _stopped)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        # Nothing is to be read or opened anew yet, and nothing should end.
        signal.signal(number, signal.SIG_IGN)
    identity = privileges.choose(config.process, config.spool.directory)
    files = descriptors.raise_limit()
    command = tuple(handover.own_command())
    with ExitStack() as undo:
        prepare_spool(config.spool.directory, identity)
        pid_file = PidFile(config.process.pid_file)
        pid_file.claim(identity)
        if passed:
            bound = take(config.listeners, passed)
        else:
            bound = listeners.bind(config.listeners, _PATIENCE_SECONDS if pid_file.is_stale else 0.0)
        if log_file is not None:
            # As root, in a folder where its user may perhaps not make one.
            os.close(own_file(log_file, identity, "log file", 0o640))
        pid_file.write(identity)
        undo.callback(pid_file.remove)
        control = Control(config.process.pid_file, identity)
        undo.callback(control.remove)
        preload()
        extras.load(config)
        factory()
        # As root still, so that a standard error that belongs to root can be opened anew.
        log = _open_log(config, log_file)
        privileges.drop(identity)
        reach_spool(config.spool.directory, identity)
        plan = Plan(source, config, second_looks(config, identity, files))
        setproctitle.setproctitle("relayd: master")
        log.write(events.ProcessStarted(role="master", version=__version__))
        log.write(events.ConfigLoaded(source=str(config.source or "built-in defaults")))
        for warning in plan.warnings:
            log.write(events.ConfigWarning(warning=warning))
        gc.collect()
        patience = config.process.stop_timeout + _LOCK_SECONDS if pid_file.is_stale else _LOCK_SECONDS
        common = _common(config, bound, log, patience)
        slot = common.board.slot(MASTER)
        post = Post(plan, common, identity, pid_file, control, slot, log, herald, log_file, command)
        status = Master(post).run()
        log.write(events.ProcessRetired(role="master", child=os.getpid()))
        log.flush()
        return status


def _stopped(number: int, frame: object) -> None:
    """SIGTERM until the master listens to it: what was taken until then is given back."""
    raise StartFailed("stopped while it started")


def prepare_spool(directory: Path, identity: Identity) -> None:
    """Make the spool's folders; a spool that is a link or somebody else's is refused."""
    try:
        check_spool(directory, identity)
        as_root = os.geteuid() == 0
        layout = Layout(str(directory))
        layout.create((identity.uid, identity.gid) if as_root else None)
        if as_root and directory.lstat().st_uid != identity.uid:
            os.chown(directory, identity.uid, identity.gid, follow_symlinks=False)
        check_spool(directory, identity)
        check_folders(layout.folders(), identity)
    except WrongSpool as error:
        raise StartFailed(str(error)) from None
    except OSError as error:
        raise StartFailed(f"spool {error.filename or directory}: {error.strerror or error}") from None


def _common(config: Config, bound: Sequence[Bound], log: Log, patience: float) -> Common:
    workers = workers_of(config)
    room = room_for(workers)
    # The master's own slot, and those of the few that are no workers.
    board, tally = Board(1 + 2 * room), Tally(room)
    places = Places(board.slots, tally.parts)
    return Common(bound, Hints(), board, tally, places, log, workers, patience)


def _open_log(config: Config, log_file: Path | None) -> Log:
    try:
        return Log(config.log.format, log_file)
    except OSError as error:
        raise StartFailed(f"log file {log_file}: {error.strerror}") from None
