"""Checking: the facts of `relayd status --check`, collected in bounded time from the master and the spool.

Refuses to judge them. A master or a disk that does not answer is a fact too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from relayd.base.config import Config
from relayd.base.health import Facts
from relayd.cli.errand import Errand
from relayd.master import control, pidfile
from relayd.master.control import NotRunning, StatusPlease
from relayd.master.report import Report
from relayd.spool.disk import Disk
from relayd.spool.errors import WrongSpool
from relayd.spool.layout import Layout
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.view import View

# So long may a machine that is busy, or a master that executes another version, let us wait for a sign of life,
# and a disk that writes much take for one call.
_PATIENCE_SECONDS = 5.0
# A queue of millions may be read for so long.
_LONGEST_SECONDS = 30.0


class _Asked(msgspec.Struct):
    """What the master said; without a report `pid` is that of a master that does not answer, 0 of none."""

    report: Report | None = None
    pid: int = 0
    is_refused: bool = False


class Seen(msgspec.Struct):
    """What the spool shows, or why it does not: see `base.health.Facts`."""

    oldest_due: float | None = None
    waiting: int | None = None
    free: int | None = None
    inodes: int | None = None
    failed: int = 0
    unreadable: str = ""


@dataclass(frozen=True)
class Checked:
    """`is_running` is whether there is a master at all."""

    is_running: bool
    facts: Facts


def see(directory: Path) -> Seen:
    """What the spool shows, or in words why it does not: the disk may fail with any OSError."""
    try:
        now = time.time()
        free, inodes = Disk().free(str(directory))
        summary = View(directory).summary(now)
        due = summary.oldest_due
        if due is not None and EVERYTHING in Pause(Layout(str(directory))).current():
            due = None
    except FileNotFoundError:
        return Seen(unreadable=f"there is no spool at {directory}")
    except WrongSpool as error:
        return Seen(unreadable=str(error))
    except OSError as error:
        return Seen(unreadable=f"the spool {directory} cannot be read: {error.strerror or error}")
    return Seen(
        oldest_due=None if due is None else now - due,
        waiting=summary.new + summary.cur,
        free=free,
        # Some file systems have no number of them.
        inodes=None if inodes < 0 else inodes,
        failed=summary.failed,
    )


def look(directory: Path) -> bytes:
    """What is seen, for another process."""
    return msgspec.json.encode(see(directory))


def together(report: Report | None, seen: Seen, config: Config) -> Facts:
    """What the master has said, if it has, and what the spool shows."""
    known = Facts() if report is None else report.condition.facts()
    return replace(known, floor=config.spool.minimum_free, **msgspec.structs.asdict(seen))


def check(config: Config, look: Callable[[Path], bytes] = look, patience: float = _PATIENCE_SECONDS) -> Checked:
    """Look at both at the same time; raises PermissionError when the relay is another user's.

    Who shows no sign of life for so many seconds of `patience` is waited for no longer.
    """
    asking = Errand(lambda: _ask(config.process.pid_file, patience))
    looking = Errand(lambda: look(config.spool.directory))
    answer = asking.result(2 * patience, 2 * patience)
    seen = _spool(looking.result(patience, _LONGEST_SECONDS), config.spool.directory)
    if not answer:
        facts = together(None, seen, config)
        return Checked(
            True, replace(facts, missing=["the master cannot be asked: the disk of the pid file hangs"])
        )
    asked = msgspec.json.decode(answer, type=_Asked)
    if asked.is_refused:
        raise PermissionError(f"{control.socket_path(config.process.pid_file)}: permission denied")
    facts = together(asked.report, seen, config)
    if asked.report is None:
        said = f"the master (pid {asked.pid}) does not answer: its log may say why"
        return Checked(bool(asked.pid), replace(facts, missing=[said]))
    if asked.report.state == "stopping":
        return Checked(True, replace(facts, missing=["the relay is stopping"], stuck=[]))
    return Checked(True, facts)


def _spool(octets: bytes | None, directory: Path) -> Seen:
    if octets is None:
        return Seen(unreadable=f"the disk of the spool {directory} does not answer")
    if not octets:
        return Seen(unreadable=f"the spool {directory} cannot be looked at")
    return msgspec.json.decode(octets, type=Seen)


def _ask(pid_file: Path, seconds: float) -> bytes:
    try:
        asked = _Asked(control.ask(pid_file, StatusPlease(), seconds=seconds))
    except PermissionError:
        asked = _Asked(is_refused=True)
    except NotRunning:
        asked = _Asked(pid=pidfile.running(pid_file) or 0)
    return msgspec.json.encode(asked)
