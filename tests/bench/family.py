"""A family: all processes of one server, with those they start and those that have ended, as one account.

Where a control group can be made (cpuacct of version 1, or version 2), the kernel keeps the account. Else psutil
sums over the process that is set as `root` and its descendants, with what ended children left to their parents.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.world.relay import is_there

_END_SECONDS = 10.0
_STEP = 0.05


class Family:
    """One server's; made by `family`."""

    def __init__(self, group: Path | None, home: Path | None) -> None:
        self.root: psutil.Process | None = None
        self._group = group
        self._home = home

    @property
    def kept_by(self) -> str:
        """Who keeps the account."""
        if self._group is None:
            return "psutil"
        return "cpuacct" if (self._group / "cpuacct.usage").exists() else "cpu.stat"

    @contextmanager
    def birth(self) -> Iterator[None]:
        """What this process starts meanwhile belongs to the family."""
        if self._group is None or self._home is None:
            yield
            return
        _enter(self._group)
        try:
            yield
        finally:
            _enter(self._home)

    def pids(self) -> list[int]:
        """All that run now."""
        if self._group is not None:
            return [int(line) for line in (self._group / "cgroup.procs").read_text().split()]
        return [process.pid for process in self._tree()]

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        if self._group is None:
            return sum(_seconds(process) for process in self._tree())
        usage = self._group / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) / 1e9
        statistics = dict(line.split() for line in (self._group / "cpu.stat").read_text().splitlines())
        return int(statistics["usage_usec"]) / 1e6

    def pss(self) -> int:
        """Octets of memory, what is shared counted in parts."""
        total = 0
        for pid in self.pids():
            # One may end while it is looked at.
            with contextlib.suppress(psutil.Error, OSError):
                total += int(psutil.Process(pid).memory_full_info().pss)
        return total

    def end(self) -> None:
        """Kill those that are left; to be called when the server was told to stop."""
        deadline = time.monotonic() + _END_SECONDS
        while (left := self.pids()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_STEP)

    def _tree(self) -> list[psutil.Process]:
        if self.root is None or not self.root.is_running():
            return []
        return [each for each in (self.root, *self.root.children(recursive=True)) if is_there(each)]


@contextmanager
def family(name: str) -> Iterator[Family]:
    """A new one; what is left of it at the end is killed."""
    home = _home()
    group = None if home is None else _group(home, f"relayd-bench-{os.getpid()}-{name}")
    made = Family(group, home)
    try:
        yield made
    finally:
        made.end()
        if group is not None:
            # A process that the kernel has not buried yet keeps it for a moment.
            for _ in range(round(_END_SECONDS / _STEP)):
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(_STEP)


def _group(home: Path, name: str) -> Path | None:
    """A new group that this process may enter and leave, or None."""
    group = home / name
    try:
        group.mkdir()
    except OSError:
        return None
    try:
        _enter(group)
        _enter(home)
    except OSError:
        group.rmdir()
        return None
    return group


def _home() -> Path | None:
    """The control group of this process that can keep an account of processor time."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    first = next((path for _, kinds, path in own if "cpuacct" in kinds.split(",")), None)
    second = next((path for _, kinds, path in own if not kinds), None)
    for kind, path in (("cgroup", first), ("cgroup2", second)):
        for mount in mounts:
            before, _, after = mount.partition(" - ")
            root, point = before.split()[3:5]
            fstype, _, options = after.split(" ", 2)
            if path is None or fstype != kind or (kind == "cgroup" and "cpuacct" not in options.split(",")):
                continue
            found = Path(point) / os.path.relpath(path, root)
            if (found / "cgroup.procs").exists():
                return found
    return None


def _enter(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _seconds(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.Error:
        return 0.0
