"""Boot: the way from a configuration to a running master, in the order in which things can go wrong.

Bind, lock, pid file, then away with root, then the first fork. Every failure is a StartFailed before anything
runs; what was taken until then is given back.
"""

import gc
import os
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import setproctitle

from relayd import __version__
from relayd.base import config as configuration
from relayd.base import events
from relayd.base.bound import Bound
from relayd.base.channel import Channel
from relayd.base.config import Config
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.loop import factory
from relayd.base.tally import Tally
from relayd.deliver import boot as delivery
from relayd.deliver.limits import Limits
from relayd.deliver.post import Post as DeliveryPost
from relayd.master import credentials, descriptors, listeners, privileges
from relayd.master.children import Child
from relayd.master.control import Control
from relayd.master.herald import Herald
from relayd.master.master import Master, Post
from relayd.master.pidfile import PidFile
from relayd.master.preload import preload
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed
from relayd.receive import worker
from relayd.spool.errors import WrongSpool
from relayd.spool.hint import Hints
from relayd.spool.layout import Layout

# What a killed master leaves closes its listeners at once and ends in bounded time; so long a start waits for it.
_PATIENCE_SECONDS = 15.0
# How long a delivery process that was just killed may take to be gone; one whose master was killed has, beside
# that, the time that a stop may take.
_LOCK_SECONDS = 1.0
_CONFIGURATION = 2
# Without waiting, in case a FIFO has the name.
_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def run(config: Config, log_file: Path | None, herald: Herald) -> int:
    """Be the master until it is stopped; give the exit status. Raises StartFailed.

    `log_file` None is standard error. The herald tells when everything runs, or why it cannot.
    """
    identity = privileges.choose(config.process, config.spool.directory)
    files = descriptors.raise_limit()
    with ExitStack() as undo:
        prepare_spool(config.spool.directory, identity)
        pid_file = PidFile(config.process.pid_file)
        pid_file.claim()
        bound = listeners.bind(config.listeners, _PATIENCE_SECONDS if pid_file.is_stale else 0.0)
        _prepare_log(log_file, identity)
        pid_file.write(identity)
        undo.callback(pid_file.remove)
        control = Control(config.process.pid_file, identity)
        undo.callback(control.remove)
        preload()
        factory()
        # As root still, so that a standard error that belongs to root can be opened anew.
        log = _open_log(config, log_file)
        privileges.drop(identity)
        reach_spool(config.spool.directory, identity)
        warnings = second_looks(config, identity, files)
        setproctitle.setproctitle("relayd: master")
        log.write(events.ProcessStarted(role="master", version=__version__))
        log.write(events.ConfigLoaded(source=str(config.source or "built-in defaults")))
        for warning in warnings:
            log.write(events.ConfigWarning(warning=warning))
        count = config.process.workers or os.cpu_count() or 1
        board = Board(count + 2)
        gc.collect()
        patience = config.process.stop_timeout + _LOCK_SECONDS if pid_file.is_stale else _LOCK_SECONDS
        workers, courier = _children(config, count, board, bound, log, patience)
        post = Post(config, identity, bound, control, board.slot(0), log, herald, warnings)
        status = Master(post, workers, courier).run()
        log.write(events.ProcessRetired(role="master", child=os.getpid()))
        log.flush()
        return status


def prepare_spool(directory: Path, identity: Identity) -> None:
    """Make the spool's folders; a spool that is a link or somebody else's is refused."""
    try:
        if directory.is_symlink():
            raise StartFailed(f"{directory} is a symbolic link; a spool must not be one")
        as_root = os.geteuid() == 0
        Layout(str(directory)).create((identity.uid, identity.gid) if as_root else None)
        owner = directory.stat()
        if as_root and owner.st_uid == 0 and identity.uid != 0:
            os.chown(directory, identity.uid, identity.gid)
        elif owner.st_uid != identity.uid:
            raise StartFailed(f"{directory} belongs to uid {owner.st_uid}, not to {identity.name}")
    except WrongSpool as error:
        raise StartFailed(str(error)) from None
    except OSError as error:
        raise StartFailed(f"spool {error.filename or directory}: {error.strerror or error}") from None


def reach_spool(directory: Path, identity: Identity) -> None:
    """As the user, once root is gone: fail when a folder above the spool keeps it out."""
    for folder in reversed((directory, *directory.parents)):
        if not os.access(folder, os.X_OK):
            raise StartFailed(
                f"spool {directory}: user {identity.name} may not enter {folder}; "
                "choose another place with [spool] directory or --spool"
            )


def second_looks(config: Config, identity: Identity, files: int) -> list[str]:
    """As the user: what works and deserves one; StartFailed for credentials that cannot be used."""
    found = credentials.look(config, identity.name, time.time())
    if found.troubles:
        raise StartFailed("; ".join(found.troubles), _CONFIGURATION)
    limit = descriptors.warning(files)
    return [*configuration.warnings(config), *found.warnings, *([] if limit is None else [limit])]


def _children(
    config: Config, count: int, board: Board, bound: list[Bound], log: Log, patience: float
) -> tuple[list[Child], Child]:
    hints = Hints()
    endpoints = listeners.endpoints(bound)
    tally = Tally(count)

    def work(number: int) -> Callable[[Channel], int]:
        def serve(channel: Channel) -> int:
            hand = tally.hand(number - 1)
            return worker.serve(worker.Post(config, bound, hints, channel, board.slot(number), log, hand))

        return serve

    def deliver(channel: Channel) -> int:
        listeners.close(bound)
        slot = board.slot(count + 1)
        limits = Limits(lock=patience)
        return delivery.deliver(DeliveryPost(config, endpoints, hints, channel, slot, log, limits))

    workers = [Child(f"worker {number}", work(number), board.slot(number)) for number in range(1, count + 1)]
    return workers, Child("delivery", deliver, board.slot(count + 1))


def _prepare_log(log_file: Path | None, identity: Identity) -> None:
    """Make the log file as root and give it to the user that will write it."""
    if log_file is None:
        return
    try:
        fd = os.open(log_file, _LOG_FLAGS, 0o640)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StartFailed(f"log file {log_file}: not a regular file")
            if os.geteuid() == 0:
                os.fchown(fd, identity.uid, identity.gid)
        finally:
            os.close(fd)
    except OSError as error:
        raise StartFailed(f"log file {log_file}: {error.strerror}") from None


def _open_log(config: Config, log_file: Path | None) -> Log:
    try:
        return Log(config.log.format, log_file)
    except OSError as error:
        raise StartFailed(f"log file {log_file}: {error.strerror}") from None
