"""The command line: what bin/relayd says and does for the operator.

Exit statuses: 0 good, 1 failed, 2 usage or configuration, 3 not running. Whatever is wrong is one line on
standard error; a traceback here is a bug.
"""

import argparse
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

from relayd.base.mistake import ConfigError
from relayd.cli.arguments import command_of, parse
from relayd.cli.gentle import gently
from relayd.cli.output import complain
from relayd.spool.errors import SpoolError

FAILED = 1
USAGE = 2
_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Carry out one command; give its exit status. Ends the process for --help and words it cannot understand."""
    try:
        arguments = parse(sys.argv[1:] if words is None else words)
    except SystemExit as end:
        sys.exit(_said() or end.code)
    if arguments.is_gentle:
        return gently(lambda: _carry_out(arguments))
    return _carry_out(arguments)


def _carry_out(arguments: argparse.Namespace) -> int:
    try:
        status = command_of(arguments)(arguments)
        return _said() or status
    except ConfigError as error:
        complain(str(error))
        return USAGE
    except SpoolError as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        return _failed(error)
    except Exception as error:
        complain(_defect(error))
        return FAILED


def _said() -> int:
    """Write what was printed, where a full disk can still be told; give the exit status."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _failed(error)
    return 0


def _failed(error: OSError) -> int:
    """Say what the system did not let us do; give the exit status."""
    match error:
        case FileNotFoundError():
            complain(f"{error.filename}: not there")
        case PermissionError():
            complain(f"{error.filename or 'the relay'}: permission denied; it belongs to another user, try sudo")
        case BrokenPipeError():
            # The reader (head, less) has seen enough.
            _discard()
            return 0
        case _:
            complain(f"{error.filename or 'the relay'}: {error.strerror or error}")
            if error.filename is None:
                _discard()
    return FAILED


def _discard() -> None:
    """What the interpreter would still write at its end goes nowhere."""
    if sys.stdout is not None:
        # A caller may have put in its place what is no file.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _defect(error: Exception) -> str:
    """What nobody has thought of, in one line that helps whoever mends it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"a defect of relayd, please report it: {type(error).__name__}: {error}{place}"
