"""Authentication: whether a client has a user's password, found off the event loop (RFC 4954).

Two threads at most verify, and so many attempts wait for them; more are put off with 454. A client that has failed
waits before its next attempt is looked at, see `slowdown`. The file of users is read anew when it has changed; one
that cannot be read lets nobody in, with 454 too. Passwords are kept no longer than it takes, and shown nowhere.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from relayd.base.users import Users
from relayd.receive.slowdown import Slowdown
from relayd.smtp.reply import Reply, reply

_THREADS = 2
_MOST_WAITING = 16

_WRONG = reply(535, "5.7.8", "Authentication credentials invalid")
_BUSY = reply(454, "4.7.0", "Error: too many authentications at once; try again later")
_TOO_FAST = reply(454, "4.7.0", "Error: too many failures from your address; try again later")
_BROKEN = reply(454, "4.7.0", "Error: temporary authentication failure")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a client says. It is shown without the password."""

    client: bytes
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Attempt({self.client!r}, {self.user!r})"


class UsersFile:
    """The users as the file has them now; for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One value, so that a thread never sees the users of one file with the mark of another.
        self._loaded: tuple[object, Users] = (None, Users({}))

    def current(self) -> Users:
        """Read again when the file is not the one that was read; raise OSError or UsersError."""
        found = self._path.stat()
        mark = (found.st_mtime_ns, found.st_ino, found.st_size)
        seen, users = self._loaded
        if mark != seen:
            users = Users.load(self._path)
            self._loaded = (mark, users)
        return users


class Authenticator:
    """One worker's. `trouble` is told why the file of users cannot be read."""

    def __init__(
        self,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        trouble: Callable[[Exception], None],
        slowdown: Slowdown | None = None,
    ) -> None:
        self._users = UsersFile(path)
        self._loop = loop
        self._trouble = trouble
        self._slowdown = slowdown or Slowdown()
        self._threads = ThreadPoolExecutor(_THREADS, "auth")
        self._waiting = 0

    def verify(self, attempt: Attempt, done: Callable[[Reply | None], None]) -> None:
        """Find out; `done` gets the refusal or None, once, and never before this returns."""
        wait = self._slowdown.wait(attempt.client, self._loop.time())
        if wait is None:
            self._loop.call_soon(done, _TOO_FAST)
        elif wait:
            # A timer for none but those that have failed.
            self._loop.call_later(wait, self._begin, attempt, done)
        else:
            self._begin(attempt, done)

    def close(self) -> None:
        """End the threads; what has not begun never will."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin(self, attempt: Attempt, done: Callable[[Reply | None], None]) -> None:
        if self._waiting >= _THREADS + _MOST_WAITING:
            self._loop.call_soon(done, _BUSY)
            return
        self._waiting += 1
        future = self._loop.run_in_executor(self._threads, self._look, attempt)
        future.add_done_callback(lambda ended: self._ended(ended, attempt, done))

    def _look(self, attempt: Attempt) -> bool:
        return self._users.current().verify(attempt.user, attempt.password)

    def _ended(
        self, ended: "asyncio.Future[bool]", attempt: Attempt, done: Callable[[Reply | None], None]
    ) -> None:
        self._waiting -= 1
        if ended.cancelled():
            return
        error = ended.exception()
        if isinstance(error, Exception):
            self._trouble(error)
            done(_BROKEN)
        elif ended.result():
            self._slowdown.succeeded(attempt.client, attempt.user)
            done(None)
        else:
            self._slowdown.failed(attempt.client, attempt.user, self._loop.time())
            done(_WRONG)
