"""The command line: what bin/relayd says and does for the operator.

Exit statuses: 0 good, 1 failed, 2 usage or configuration, 3 not running. Whatever is wrong is one line on
standard error; a traceback here is a bug.
"""

import argparse
import os
import sys
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
    """Carry out one command; give its exit status."""
    arguments = parse(sys.argv[1:] if words is None else words)
    if arguments.is_gentle:
        return gently(lambda: _carry_out(arguments))
    return _carry_out(arguments)


def _carry_out(arguments: argparse.Namespace) -> int:
    try:
        return command_of(arguments)(arguments)
    except ConfigError as error:
        complain(str(error))
        return USAGE
    except SpoolError as error:
        complain(str(error))
        return FAILED
    except FileNotFoundError as error:
        complain(f"{error.filename}: not there")
        return FAILED
    except PermissionError as error:
        complain(f"{error.filename or 'the relay'}: permission denied; it belongs to another user, try sudo")
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what the interpreter would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        complain(f"{error.filename or 'the relay'}: {error.strerror or error}")
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
