"""Checking: the facts of `relayd status --check`, collected in bounded time from the master and the spool.

Refuses to judge them. A master or a disk that does not answer is a fact too.
"""

import os
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
from relayd.spool.errors import WrongSpool
from relayd.spool.layout import Layout
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.view import View

# A master that makes progress answers at once; a disk that does nothing at all for so long does not answer.
_ANSWER_SECONDS = 1.0
_PATIENCE_SECONDS = 1.2
# A queue of millions may be read for so long.
_LONGEST_SECONDS = 30.0


class _Asked(msgspec.Struct):
    """What the master said; without a report `pid` is that of a master that does not answer, 0 of none."""

    report: Report | None = None
    pid: int = 0
    is_refused: bool = False


class _Seen(msgspec.Struct):
    """What the spool shows, or why it does not."""

    oldest_due: float | None = None
    free: int | None = None
    failed: int = 0
    unreadable: str = ""


@dataclass(frozen=True)
class Checked:
    """`is_running` is whether there is a master at all."""

    is_running: bool
    facts: Facts


def look(directory: Path) -> bytes:
    """What the spool shows, or in words why it does not: the disk may fail with any OSError."""
    try:
        now = time.time()
        status = os.statvfs(directory)
        summary = View(directory).summary(now)
        due = summary.oldest_due
        if due is not None and EVERYTHING in Pause(Layout(str(directory))).current():
            due = None
        seen = _Seen(
            oldest_due=None if due is None else now - due,
            free=status.f_bavail * status.f_frsize,
            failed=summary.failed,
        )
    except FileNotFoundError:
        seen = _Seen(unreadable=f"there is no spool at {directory}")
    except WrongSpool as error:
        seen = _Seen(unreadable=str(error))
    except OSError as error:
        seen = _Seen(unreadable=f"the spool {directory} cannot be read: {error.strerror or error}")
    return msgspec.json.encode(seen)


def check(config: Config, look: Callable[[Path], bytes] = look) -> Checked:
    """Look at both at the same time; raises PermissionError when the relay is another user's."""
    asking = Errand(lambda: _ask(config.process.pid_file))
    looking = Errand(lambda: look(config.spool.directory))
    answer = asking.result(2 * _ANSWER_SECONDS, 2 * _ANSWER_SECONDS)
    seen = _spool(looking.result(_PATIENCE_SECONDS, _LONGEST_SECONDS), config)
    if not answer:
        return Checked(True, replace(seen, missing=["the master cannot be asked: the disk of the pid file hangs"]))
    asked = msgspec.json.decode(answer, type=_Asked)
    if asked.is_refused:
        raise PermissionError(f"{control.socket_path(config.process.pid_file)}: permission denied")
    if asked.report is None:
        said = f"the master (pid {asked.pid}) does not answer"
        return Checked(bool(asked.pid), replace(seen, missing=[said]))
    if asked.report.state == "stopping":
        return Checked(True, replace(seen, missing=["the relay is stopping"]))
    known = replace(
        asked.report.condition.facts(),
        oldest_due=seen.oldest_due,
        free=seen.free,
        floor=seen.floor,
        failed=seen.failed,
        unreadable=seen.unreadable,
    )
    return Checked(True, known)


def _spool(octets: bytes | None, config: Config) -> Facts:
    if octets is None:
        return Facts(unreadable=f"the disk of the spool {config.spool.directory} does not answer")
    if not octets:
        return Facts(unreadable=f"the spool {config.spool.directory} cannot be looked at")
    seen = msgspec.json.decode(octets, type=_Seen)
    return Facts(
        oldest_due=seen.oldest_due,
        free=seen.free,
        floor=config.spool.minimum_free,
        failed=seen.failed,
        unreadable=seen.unreadable,
    )


def _ask(pid_file: Path) -> bytes:
    try:
        asked = _Asked(control.ask(pid_file, StatusPlease(), seconds=_ANSWER_SECONDS))
    except PermissionError:
        asked = _Asked(is_refused=True)
    except NotRunning:
        asked = _Asked(pid=pidfile.running(pid_file) or 0)
    return msgspec.json.encode(asked)
