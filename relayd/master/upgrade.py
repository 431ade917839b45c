"""An upgrade: from the request to the moment when the master executes the new code, and from there to its end.

The new code is first run beside this one, as a check: it reads the state and the configuration, starts a worker
and a delivery process that touch nothing, and ends with 0 when both have proved that they can work. Its last line
says why not. Until then nothing that runs has noticed anything. Refuses to know what is in the state, and who
replaces whom. Nothing here fails: whoever asked is told.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from relayd.master import handover
from relayd.master.children import Child
from relayd.master.control import Outcome
from relayd.master.handover import State
from relayd.master.reload import PROVING_SECONDS, REPLACING_SECONDS

# What a program says before it fails is read up to here.
_MOST = 1 << 16
_PIECE = 4096
_SHOWN = 200


class Check:
    """The new code's trial run. `command` is what will be executed; `asker` is in the state."""

    def __init__(self, command: Sequence[str], state: State, now: float) -> None:
        """Raise OSError when it cannot even be executed."""
        self.command = tuple(command)
        self.deadline = now + PROVING_SECONDS
        self._said = b""
        self._is_late = False
        fd = handover.left(state)
        try:
            self._process = subprocess.Popen(
                [*command, handover.CHECK],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(fd, *(door.fd for door in state.doors)),
                env={**os.environ, handover.VARIABLE: str(fd)},
                cwd="/",
                process_group=0,
                bufsize=0,
            )
        finally:
            os.close(fd)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)

    def fileno(self) -> int:
        """What it says, for a selector; the end of file comes at its end."""
        return self._output.fileno()

    def hear(self) -> bool:
        """Take in what it says; False at the end of file, which may come before its end or after it."""
        piece = self._output.read(_PIECE)
        if piece is None:
            # Nothing yet.
            return True
        # Of a program that says too much the last is kept, which has the reason.
        self._said = (self._said + piece)[-_MOST:]
        return bool(piece)

    def kill(self, *, is_late: bool = False) -> None:
        """End it at once, with what it has forked, which may hang as well."""
        self._is_late = is_late
        # Until it is waited for, its number is its own and its group's.
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether it has; a SIGCHLD comes then."""
        return self._process.poll() is not None

    def failure(self) -> str | None:
        """After its end: why the new code is not to be executed, or None."""
        status = self._process.wait()
        for _ in range(_MOST // _PIECE):
            self.hear()
        if status == 0:
            return None
        if self._is_late:
            return f"the new code did not come so far within {PROVING_SECONDS:.0f} s"
        said = self._said.decode("utf-8", "replace")
        # Its own name for itself says nothing here.
        reason = handover.last_words(said, f"exit status {status}").removeprefix("relayd: ")
        return f"the new code: {reason}"

    def close(self) -> None:
        """Give what it says up."""
        self._output.close()


@dataclass
class Adopted:
    """What a master begins with that was executed by another one: all that runs, and who waits for an answer.

    `failure` is why the code between them could not take it; then it is back where it came from.
    """

    children: Sequence[Child]
    began: float
    asker: socket.socket | None
    commands: Sequence[socket.socket]
    orders: Mapping[int, socket.socket]
    last_ticket: int
    failure: str


class Upgrade:
    """The one that is under way, if any.

    `state` is what would be left now, `answer` tells one who asked, and `refused` is told why nothing came of one;
    `heard` gives the signals that nobody has acted on. The `warnings` are the configuration's.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        state: Callable[[socket.socket], State],
        answer: Callable[[socket.socket, Outcome], None],
        refused: Callable[[str], None],
        heard: Callable[[], Iterable[int]],
        now: float,
        adopted: Adopted | None,
        warnings: Sequence[str],
    ) -> None:
        self._selector = selector
        self._state = state
        self._answer = answer
        self._refused = refused
        self._heard = heard
        self._warnings = warnings
        self._check: Check | None = None
        self._asker: socket.socket | None = None
        # Of an upgrade whose code is this: until when everything that was there is to be replaced.
        self._replaced_by: float | None = None
        if adopted is not None:
            self._asker = adopted.asker
            self._replaced_by = now + REPLACING_SECONDS
        # Why this code is back.
        self._failure = "" if adopted is None else adopted.failure

    @property
    def is_under_way(self) -> bool:
        """Whether nothing else can be begun."""
        return self._check is not None or self._replaced_by is not None

    @property
    def due(self) -> float | None:
        """When to look again, on the monotonic clock."""
        return self._replaced_by if self._check is None else self._check.deadline

    def begin(self, asker: socket.socket, command: Sequence[str], now: float) -> None:
        """Run the new code's check; what comes then is `tend`'s."""
        self._asker = asker
        try:
            self._check = Check(command, self._state(asker), now)
        except PermissionError:
            why = "may not be executed by the user that the relay runs as, who must be able to read the new code"
            self._fail(f"{command[0]} {why}")
        except (OSError, ValueError, IndexError) as error:
            self._fail(f"{' '.join(command)[:_SHOWN]}: {error}")
        else:
            self._selector.register(self._check, selectors.EVENT_READ, self._hear)

    def _hear(self) -> None:
        if self._check is not None and not self._check.hear():
            self._selector.unregister(self._check)

    def tend(self, now: float) -> None:
        """Go on as far as it can; it does not come back from the last step, where the new code is executed."""
        check = self._check
        if self._failure:
            self._fail(self._failure)
            self._failure = ""
        if check is not None and check.has_ended():
            reason = check.failure() or self._execute(check.command)
            self._drop(check)
            self._fail(reason)
        elif check is not None and now >= check.deadline:
            check.kill(is_late=True)
        elif self._replaced_by is not None and now >= self._replaced_by:
            # What comes next may be the reload that mends it.
            self._replaced_by = None
            self._end(Outcome(False, "the new code is in force, but not everything runs it yet"))

    def _execute(self, command: Sequence[str]) -> str:
        assert self._asker is not None
        try:
            handover.execute(command, self._state(self._asker), self._heard)
        except OSError as error:
            return f"{command[0]}: {error.strerror}"

    def replaced(self) -> bool:
        """Everything runs this code now; give whether that is news."""
        if self._replaced_by is None:
            return False
        self._replaced_by = None
        self._end(Outcome(True, warnings=tuple(self._warnings)))
        return True

    def stop(self) -> None:
        """The relay ends, and with it what has been begun."""
        if self._check is not None:
            self._check.kill()
            self._drop(self._check)
        self._end(Outcome(False, "the relay is stopping"))

    def close(self) -> None:
        """Give everything up; a child does only this."""
        if self._check is not None:
            self._check.close()
        if self._asker is not None:
            self._asker.close()

    def _drop(self, check: Check) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(check)
        check.close()
        self._check = None

    def _fail(self, reason: str) -> None:
        self._refused(reason)
        self._end(Outcome(False, reason))

    def _end(self, outcome: Outcome) -> None:
        asker, self._asker = self._asker, None
        if asker is not None:
            self._answer(asker, outcome)
