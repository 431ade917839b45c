"""A stack: where each thread of a child is, as the child itself writes it down when the master asks.

faulthandler answers to a signal from within whatever Python code hangs, without its help; what it says comes
through a pipe that never waits. Refuses to know why anybody asks. A child that cannot answer (it is stopped, or
hangs in the kernel) has said nothing.
"""

import contextlib
import faulthandler
import os
import re
import signal

SIGNAL = signal.SIGUSR2

_LARGEST = 1 << 16
_FRAME = re.compile(r'\s*File "(.*)", line (\d+|\?\?\?) in (.*)')
_THREAD = re.compile(r"(?:Current thread|Thread) 0x[0-9a-f]+(?: \[(.*)\])? \(most recent call first\):")
# The innermost frames say where it is; the outermost are the same each time.
_FRAMES = 12
# What is in front of a module's path says nothing.
_LIBRARIES = re.compile(r".*/(?:site-packages|dist-packages|python3\.\d+)/")
_OURS = re.compile(r".*/(?=relayd/)")


class Stack:
    """The pipe of one child, made before its fork."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def serve(self) -> None:
        """In the child: answer from now on."""
        os.close(self._reading)
        faulthandler.register(SIGNAL, file=self._writing, all_threads=True, chain=False)

    def keep(self) -> None:
        """In the master, after the fork: only the reading end."""
        os.close(self._writing)

    def give_up(self) -> None:
        """There is no child after all."""
        os.close(self._reading)
        os.close(self._writing)

    def fileno(self) -> int:
        """For a selector."""
        return self._reading

    def ask(self, pid: int) -> None:
        """Have the child write; what was written before is forgotten."""
        self.read()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGNAL)

    def read(self) -> str:
        """What it has written since."""
        found = b""
        with contextlib.suppress(OSError):
            while portion := os.read(self._reading, _LARGEST):
                found += portion
        return found.decode("utf-8", "replace")

    def close(self) -> None:
        """In the master, or in another child: give the reading end up."""
        os.close(self._reading)


def in_words(written: str) -> str:
    """What faulthandler wrote as one line: threads with their frames, the innermost first."""
    threads: list[list[str]] = []
    for line in written.splitlines():
        if _THREAD.match(line):
            threads.append([])
        elif threads and (frame := _FRAME.match(line)):
            threads[-1].append(f"{frame[3]} ({_short(frame[1])}:{frame[2]})")
    # The main thread, which is what hangs, is the last one that faulthandler writes.
    return "; ".join(" < ".join(frames[:_FRAMES]) for frames in reversed(threads) if frames)


def _short(path: str) -> str:
    short = _LIBRARIES.sub("", path)
    return _OURS.sub("", short) if short == path else short
