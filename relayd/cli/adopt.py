"""Adopt: where the code of an upgrade is entered, by the master that executes it and by its trial run before.

It is no command for people. Nothing of this code is imported before something can be done about it: what fails
while it takes up the master's state is executed back to the code that it came from.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from relayd.cli.output import complain
from relayd.master import handover
from relayd.master.handover import ADOPT, CHECK, NoHandover

_FAILED = 1
_USAGE = 2


def main() -> int:
    """Carry out the one word; give the exit status."""
    words = sys.argv[1:]
    try:
        written = handover.found(os.environ)
    except NoHandover as error:
        complain(f"only a running relay starts this, for `relayd upgrade`: {error}")
        return _USAGE
    if words == [CHECK]:
        return _check(written)
    if words == [ADOPT]:
        return _adopt(written)
    complain(f"this relay is asked for {' '.join(words)!r}, and knows {CHECK} and {ADOPT}")
    return _USAGE


def _check(written: bytes) -> int:
    try:
        from relayd.master import adopt

        adopt.check(handover.understood(written))
    except Exception as error:
        complain(_in_words(error))
        return _FAILED
    return 0


def _adopt(written: bytes) -> int:
    try:
        signal.signal(signal.SIGALRM, _too_late)
        from relayd.master import adopt

        run = adopt.adopt(handover.understood(written), handover.own_command())
    except BaseException as error:
        reason = handover.go_back(written, _in_words(error))
        complain(f"the relay ends: {reason}")
        _write(written, reason)
        return _FAILED
    return run()


def _write(written: bytes, reason: str) -> None:
    """Into the log, if this code can: it may be all that a person has, since nobody may read standard error."""
    with contextlib.suppress(Exception):
        from relayd.base.events import ProcessDied
        from relayd.base.log import Log

        state = handover.understood(written)
        if state.log_file is not None:
            log = Log(state.log_format, Path(state.log_file))
            log.write(ProcessDied(role="master", child=os.getpid(), reason=reason, restart_in_s=None))


def _in_words(error: BaseException) -> str:
    text = str(error)
    return (
        text
        if type(error).__name__ in ("StartFailed", "ConfigError", "NoHandover")
        else f"{type(error).__name__}: {text}"
    )


def _too_late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("the new code did not take over in time")


if __name__ == "__main__":
    sys.exit(main())
