"""Where a process hangs, said by itself."""

import contextlib
import os
import selectors
import signal
from collections.abc import Iterator

from relayd.master.stack import Stack, in_words


@contextlib.contextmanager
def child(stack: Stack) -> Iterator[int]:
    """A process that answers and otherwise hangs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        stack.serve()
        hang(writing, *os.pipe())
    os.read(reading, 1)
    stack.keep()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        stack.close()
        os.close(reading)
        os.close(writing)


def hang(ready: int, reading: int, writing: int) -> None:
    """For ever: both ends of the pipe are ours."""
    os.write(ready, b".")
    os.read(reading, 1)
    os._exit(writing)


def said(stack: Stack) -> str:
    """What comes, once something does; the writer takes it all out in one go."""
    with selectors.DefaultSelector() as selector:
        selector.register(stack, selectors.EVENT_READ)
        assert selector.select(10.0)
    text = stack.read()
    while "in child" not in text:
        text += stack.read()
    return text


def test_a_process_that_hangs_says_where() -> None:
    """The innermost frame first, in one line."""
    stack = Stack()
    with child(stack) as pid:
        stack.ask(pid)
        line = in_words(said(stack))
        assert line.startswith("hang (")
        assert " < child (" in line
        assert "\n" not in line


def test_what_was_written_before_is_forgotten() -> None:
    """Somebody sent the signal by hand, perhaps for days: the pipe is full, and nobody waits for that."""
    stack = Stack()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stack._writing, b"in child, long ago\n" * 200)
    with child(stack) as pid:
        stack.ask(pid)
        assert "long ago" not in said(stack)


def test_asking_one_that_is_gone_is_no_error() -> None:
    """It may end at any moment."""
    stack = Stack()
    with child(stack) as pid:
        pass
    again = Stack()
    again.keep()
    again.ask(pid)
    assert again.read() == ""
    again.close()


def test_the_main_thread_comes_first_and_paths_are_short() -> None:
    """Two threads as faulthandler writes them, the newest first."""
    written = (
        "Thread 0x00007f0000000001 (most recent call first):\n"
        '  File "/usr/lib/python3.11/threading.py", line 320 in wait\n'
        '  File "/srv/relayd/relayd/spool/clerk.py", line 55 in _run\n'
        "\n"
        "Current thread 0x00007f0000000002 (most recent call first):\n"
        '  File "/srv/.venv/lib/python3.11/site-packages/dns/name.py", line 7 in <listcomp>\n'
        '  File "/srv/relayd/relayd/receive/worker.py", line 280 in _sweep\n'
    )
    assert in_words(written) == (
        "<listcomp> (dns/name.py:7) < _sweep (relayd/receive/worker.py:280); "
        "wait (threading.py:320) < _run (relayd/spool/clerk.py:55)"
    )
    assert in_words("") == in_words("nonsense\n") == ""
