"""Work that gives way: what it says, how it ends, and what an interrupt does."""

import os
import signal
import subprocess
import sys

from relayd.cli.gentle import gently

SCRIPT = """
import os, sys
from relayd.cli.gentle import gently
def work():
    print("in another session:", os.getsid(0) != int(sys.argv[1]), flush=True)
    sys.stdin.readline()
    return 7
try:
    sys.exit(gently(work))
except KeyboardInterrupt:
    sys.exit(130)
"""


def started() -> "subprocess.Popen[bytes]":
    """A process that works gently, until a line comes."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(os.getsid(0))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in another session: True\n"
    return process


def test_its_output_and_its_exit_status_are_the_callers() -> None:
    """As if it had been done here, but in a session of its own."""
    with started() as process:
        process.communicate(b"\n", 10)
        assert process.returncode == 7


def test_an_interrupt_ends_both() -> None:
    """Ctrl-C reaches the caller only; nobody goes on behind its back."""
    with started() as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout is not None
        # The end of file: the child, which had the pipe too, is gone.
        assert process.stdout.read() == b""
        assert process.stdin is not None
        process.stdin.close()


def test_work_that_raises_has_failed() -> None:
    """The child ends; the caller goes on."""

    def work() -> int:
        raise RuntimeError

    assert gently(work) == 1
