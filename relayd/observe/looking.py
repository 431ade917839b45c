"""Looking: a child that looks at the spool now and then, so that the disk keeps nobody waiting who asks.

There is one at a time. It gives way to mail, and dies with its parent. One that comes to nothing leaves what was
seen before; how old that is says that something is wrong.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable

import msgspec
import setproctitle

from relayd.base.idle import give_way
from relayd.observe.look import Look

# A small queue is looked at so often, and a large one so seldom that looking takes a twentieth of the time.
EVERY_SECONDS = 15.0
_SHARE = 20.0
_PR_SET_PDEATHSIG = 1
_PORTION = 65_536
# It can be killed only when the disk comes back, but what is told is not what the disk was like then.
_LONGEST_SECONDS = 300.0
# Where there is no limit, there is still the kernel's own.
_MOST_FILES = 1 << 20

_decoder = msgspec.json.Decoder(Look)


class Looking:
    """`look` is what the child does; `last` is what was seen last, and `last_at` when, by the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], Look]) -> None:
        self._loop = loop
        self._look = look
        self._pid = 0
        self._pipe = -1
        self._said = b""
        self._began = self._due = loop.time()
        self.last: Look | None = None
        self.last_at = loop.time()

    def tend(self) -> None:
        """Look when it is time; to be called about once a second."""
        now = self._loop.time()
        if not self._pid:
            if now >= self._due:
                self._begin(now)
            return
        if now - self._began >= _LONGEST_SECONDS:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        if self._pipe < 0:
            self._reap()

    def age(self) -> float:
        """Seconds since the spool was seen, or since nobody has seen it."""
        return self._loop.time() - self.last_at

    def end(self) -> None:
        """Stop looking."""
        self._close()
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _begin(self, now: float) -> None:
        self._began, self._said = now, b""
        # Where there is no room for descriptors or for another process, the next look may find some.
        self._due = now + EVERY_SECONDS
        try:
            mine, its = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return
        parent = os.getpid()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(mine)
            os.close(its)
            return
        if self._pid == 0:
            _be(its, self._look, parent)
        os.close(its)
        self._pipe = mine
        self._loop.add_reader(mine, self._hear)

    def _hear(self) -> None:
        try:
            portion = os.read(self._pipe, _PORTION)
        except BlockingIOError:
            return
        if portion:
            self._said += portion
            return
        self._close()
        now = self._loop.time()
        self._due = now + max(EVERY_SECONDS, _SHARE * (now - self._began))
        with contextlib.suppress(msgspec.MsgspecError):
            self.last = _decoder.decode(self._said)
            self.last_at = self._began
        self._reap()

    def _close(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _reap(self) -> None:
        try:
            pid, _ = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            pid = self._pid
        if pid:
            self._pid = 0


def _be(pipe: int, look: Callable[[], Look], parent: int) -> None:
    """The child: look, say it, and be gone."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            return
        # No channel, no listener, no log of its parent's: what it holds would keep others waiting.
        os.closerange(3, pipe)
        most = os.sysconf("SC_OPEN_MAX")
        os.closerange(pipe + 1, most if most > 0 else _MOST_FILES)
        os.set_blocking(pipe, True)
        setproctitle.setproctitle("relayd: metrics, looking")
        give_way(is_patient=False)
        try:
            seen = look()
        except Exception as error:
            seen = Look(trouble=f"the spool cannot be looked at: {type(error).__name__}: {error}")
        said = memoryview(msgspec.json.encode(seen))
        while said:
            said = said[os.write(pipe, said) :]
        status = 0
    finally:
        os._exit(status)
