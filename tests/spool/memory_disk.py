"""A disk in memory that remembers what is durable: it gives every state that a crash may leave behind.

Content is durable when its file was synced, a name when its folder was, and a file's own sync says nothing of its
name. A rename is atomic. Of names that are not durable any may be lost, but for one file they come in order. Of
content that is not, all may be lost, a part, or the octets without their values. Locks die with their process.

Faults and steps are the test's: `fault` may raise for an operation, `skips` leaves one out as if the engine had
forgotten it, `stepped` hears of each that changed something.
"""

import errno
import itertools
import math
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relayd.spool.disk import Disk

# A path, the content, and the mtime of one file; all files of a spool, sorted.
Image = tuple[tuple[str, bytes, float], ...]

_MOST_IMAGES = 150


class Clock:
    """A clock that goes when it is told."""

    def __init__(self, seconds: float = 1_700_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


@dataclass(eq=False)
class Node:
    """A file, or what else has a name."""

    number: int
    mtime: float
    mode: int = stat.S_IFREG | 0o600
    user: int = 1000
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    durable_mtime: float = 0.0
    # Octets that a failed sync has lost: no later one writes them, but who writes them again.
    lost: tuple[int, int] | None = None
    allocated: int = 0
    links: int = 1
    locks: set[int] = field(default_factory=set)


@dataclass(eq=False)
class Folder:
    """Names, and those of them that are durable."""

    mtime: float
    names: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Change:
    """One change of names: what it takes away and what it puts there, both or neither."""

    node: Node
    gone: tuple[str, str] | None
    come: tuple[str, str] | None

    @property
    def folders(self) -> set[str]:
        return {place[0] for place in (self.gone, self.come) if place is not None}

    def apply(self, folders: dict[str, dict[str, Node]]) -> None:
        if self.gone is not None and folders[self.gone[0]].get(self.gone[1]) is self.node:
            del folders[self.gone[0]][self.gone[1]]
        if self.come is not None:
            folders[self.come[0]][self.come[1]] = self.node


@dataclass
class _Open:
    node: Node
    path: str


class MemoryDisk(Disk):
    """See the module. `capacity` is in octets; None is without end."""

    def __init__(self, clock: Clock | None = None, capacity: int | None = None) -> None:
        self.clock = clock or Clock()
        self.capacity = capacity
        self.boot_id = "this"
        self.booted = 0.0
        self.tells_its_start = True
        self.folders: dict[str, Folder] = {}
        self.fault: Callable[[str, str], None] = lambda operation, path: None
        self.skips: Callable[[str, str], bool] = lambda operation, path: False
        self.stepped: Callable[[str, str], None] = lambda operation, path: None
        # What other processes do while one rests.
        self.resting: Callable[[float], object] = lambda seconds: None
        self.calls: list[tuple[str, str]] = []
        self._changes: list[Change] = []
        self._open: dict[int, _Open] = {}
        self._numbers = itertools.count(1)
        self._descriptors = itertools.count(100)

    # Crashes.

    def images(self) -> Iterator[tuple[Image, bool]]:
        """Each state that a crash now may leave; with it whether a mere kill leaves it, which loses nothing."""
        yield self._image({path: folder.names for path, folder in self.folders.items()}, lambda node: None), True
        chains: dict[int, list[Change]] = {}
        for change in self._changes:
            chains.setdefault(change.node.number, []).append(change)
        for lengths, content, is_new_time in _ways([len(chain) for chain in chains.values()]):
            folders = {path: dict(folder.durable) for path, folder in self.folders.items()}
            survived = {
                id(change)
                for chain, length in zip(chains.values(), lengths, strict=True)
                for change in chain[:length]
            }
            for change in self._changes:
                if id(change) in survived:
                    change.apply(folders)
            yield self._image(folders, _loss(content), is_new_time), False

    def locks_die(self) -> None:
        """All descriptors are gone with their process."""
        for fd in list(self._open):
            self.close(fd)

    def make_durable(self) -> None:
        """Let time pass until everything is on the medium."""
        durable = {path: folder.durable for path, folder in self.folders.items()}
        for change in self._changes:
            change.apply(durable)
        self._changes = []
        for folder in self.folders.values():
            for node in folder.names.values():
                node.durable, node.durable_mtime = bytes(node.content), node.mtime

    def _image(
        self,
        folders: dict[str, dict[str, Node]],
        loss: Callable[[Node], bytes | None],
        is_new_time: bool = True,
    ) -> Image:
        files = []
        for path, names in folders.items():
            for name, node in names.items():
                lost = loss(node)
                content = bytes(node.content) if lost is None else lost
                mtime = node.mtime if is_new_time else node.durable_mtime or node.mtime
                files.append((f"{path}/{name}", content, mtime))
        return tuple(sorted(files))

    @classmethod
    def after(cls, image: Image, folders: dict[str, Folder], clock: Clock) -> "MemoryDisk":
        """The disk that a process finds which starts after a crash."""
        disk = cls(clock)
        for path in folders:
            disk.folders[path] = Folder(clock.seconds)
        for path, content, mtime in image:
            disk.put(path, content, mtime)
        return disk

    def put(self, path: str, content: bytes, mtime: float | None = None) -> Node:
        """A durable file by somebody's hand."""
        node = Node(next(self._numbers), self.clock.seconds if mtime is None else mtime)
        node.content, node.durable, node.durable_mtime = bytearray(content), content, node.mtime
        folder, name = self._split(path)
        folder.names[name] = folder.durable[name] = node
        folder.mtime = self.clock.seconds
        return node

    def take_all(self, folder: str) -> dict[str, bytes]:
        """The content of all files of a folder."""
        return {name: bytes(node.content) for name, node in self.folders[folder].names.items()}

    def path_of(self, fd: int) -> str:
        """What a descriptor was opened by."""
        return self._open[fd].path

    # Files.

    def create(self, path: str) -> int:
        self._begin("create", path)
        folder, name = self._split(path)
        if name in folder.names:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        return self._descriptor(self._make(path), path)

    def open(self, path: str) -> int:
        self._begin("open", path)
        node = self._node(path)
        if stat.S_ISLNK(node.mode):
            raise OSError(errno.ELOOP, "Too many levels of symbolic links", path)
        if not node.mode & 0o400:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return self._descriptor(node, path)

    def open_append(self, path: str) -> int:
        self._begin("open_append", path)
        folder, name = self._split(path)
        node = folder.names.get(name)
        if node is not None and stat.S_ISDIR(node.mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        return self._descriptor(node if node is not None else self._make(path), path)

    def close(self, fd: int) -> None:
        self._open.pop(fd).node.locks.discard(fd)

    def lock(self, fd: int) -> None:
        self._open[fd].node.locks.add(fd)

    def rest(self, seconds: float) -> None:
        self.resting(seconds)

    def is_locked(self, fd: int) -> bool:
        return bool(self._open[fd].node.locks - {fd})

    def read(self, fd: int, size: int, offset: int) -> bytes:
        self._begin("read", self._open[fd].path)
        return bytes(self._open[fd].node.content[offset : offset + size])

    def write(self, fd: int, octets: bytes) -> None:
        file = self._open[fd]
        if self._begin("write", file.path):
            room = len(octets) if self.capacity is None else max(0, self.capacity - self.used)
            file.node.content += octets[:room]
            file.node.mtime = self.clock.seconds
            self._changed("write", file.path)
            if room < len(octets):
                raise OSError(errno.ENOSPC, "No space left on device")

    def start_write_back(self, fd: int) -> None:
        self._begin("start_write_back", self._open[fd].path)

    def allocate(self, fd: int, size: int) -> None:
        self._begin("allocate", self._open[fd].path)
        if self.capacity is not None and self.capacity - self.used < size:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._open[fd].node.allocated = size

    def truncate(self, fd: int, size: int) -> None:
        if self._begin("truncate", self._open[fd].path):
            node = self._open[fd].node
            del node.content[size:]
            if node.lost is not None and size <= node.lost[0]:
                node.lost = None
            self._changed("truncate", self._open[fd].path)

    def sync(self, fd: int) -> None:
        file, node = self._open[fd], self._open[fd].node
        try:
            is_done = self._begin("sync", file.path)
        except OSError:
            node.lost = (len(node.durable), len(node.content))
            raise
        if is_done:
            node.durable, node.durable_mtime = bytes(node.content), node.mtime
            if node.lost is not None:
                first, end = node.lost
                node.durable = node.durable[:first] + bytes(end - first) + node.durable[end:]
            self._changed("sync", file.path)

    def stat(self, fd: int) -> os.stat_result:
        return _status(self._open[fd].node)

    # Names.

    def lstat(self, path: str) -> os.stat_result:
        self._begin("lstat", path)
        if path in self.folders:
            return _status(Node(0, self.folders[path].mtime, mode=stat.S_IFDIR | 0o700))
        return _status(self._node(path))

    def exists(self, path: str) -> bool:
        self._begin("exists", path)
        if path in self.folders:
            return True
        folder, name = self._split(path)
        return name in folder.names

    def names(self, path: str) -> list[str]:
        self._begin("names", path)
        inside = [other.rpartition("/")[2] for other in self.folders if other.rpartition("/")[0] == path]
        return [*self._folder(path).names, *inside]

    def files(self, path: str) -> list[tuple[str, bool]]:
        names = self._folder(path).names
        return [(name, name in names and stat.S_ISREG(names[name].mode)) for name in self.names(path)]

    def rename(self, source: str, target: str) -> None:
        if not self._begin("rename", source):
            return
        node = self._node(source)
        (from_folder, from_name), (to_folder, to_name) = self._split(source), self._split(target)
        del from_folder.names[from_name]
        to_folder.names[to_name] = node
        from_folder.mtime = to_folder.mtime = self.clock.seconds
        self._changes.append(Change(node, self._place(source), self._place(target)))
        self._changed("rename", source)

    def unlink(self, path: str) -> None:
        if not self._begin("unlink", path):
            return
        node = self._node(path)
        folder, name = self._split(path)
        if stat.S_ISDIR(node.mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        del folder.names[name]
        folder.mtime = self.clock.seconds
        self._changes.append(Change(node, self._place(path), None))
        self._changed("unlink", path)

    def touch(self, path: str, mtime: float) -> None:
        if self._begin("touch", path):
            self._node(path).mtime = mtime
            self._changed("touch", path)

    # Folders and the whole.

    def make_root(self, path: str) -> None:
        self.folders.setdefault(path, Folder(self.clock.seconds))

    def make_folder(self, path: str, owner: tuple[int, int] | None) -> None:
        if path in self.folders:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        self.folders[path] = Folder(self.clock.seconds)

    def give(self, fd: int, owner: tuple[int, int]) -> None:
        self._open[fd].node.user = owner[0]

    def sync_folder(self, path: str) -> None:
        if not self._begin("sync_folder", path):
            return
        nodes = {change.node for change in self._changes if path in change.folders}
        last = {
            node: max(i for i, each in enumerate(self._changes) if each.node is node and path in each.folders)
            for node in nodes
        }
        durable = {name: folder.durable for name, folder in self.folders.items()}
        kept = []
        for index, change in enumerate(self._changes):
            if index <= last.get(change.node, -1):
                change.apply(durable)
            else:
                kept.append(change)
        self._changes = kept
        self._changed("sync_folder", path)

    def may_write(self, path: str) -> bool:
        return path in self.folders

    def user(self) -> int:
        return 1000

    def boot(self) -> str:
        return self.boot_id

    def started(self) -> float:
        return self.booted

    def free(self, path: str) -> tuple[int, int]:
        return (10**12 if self.capacity is None else self.capacity - self.used), -1

    # The machinery.

    def _begin(self, operation: str, path: str) -> bool:
        """Note a call; False when it is left out."""
        self.calls.append((operation, path))
        self.fault(operation, path)
        return not self.skips(operation, path)

    def _changed(self, operation: str, path: str) -> None:
        self.stepped(operation, path)

    def _make(self, path: str) -> Node:
        node = Node(next(self._numbers), self.clock.seconds)
        folder, name = self._split(path)
        folder.names[name] = node
        folder.mtime = self.clock.seconds
        self._changes.append(Change(node, None, self._place(path)))
        self._changed("create", path)
        return node

    def _descriptor(self, node: Node, path: str) -> int:
        fd = next(self._descriptors)
        self._open[fd] = _Open(node, path)
        return fd

    def _folder(self, path: str) -> Folder:
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.folders[path]

    def _split(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    @staticmethod
    def _place(path: str) -> tuple[str, str]:
        folder, _, name = path.rpartition("/")
        return folder, name

    def _node(self, path: str) -> Node:
        folder, name = self._split(path)
        if name not in folder.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return folder.names[name]

    @property
    def used(self) -> int:
        """Octets that are not free."""
        nodes = {id(node): node for folder in self.folders.values() for node in folder.names.values()}
        return sum(max(len(node.content), node.allocated) for node in nodes.values())


Way = tuple[tuple[int, ...], int, bool]


def _ways(lengths: list[int]) -> Iterator[Way]:
    """How much of each file's changes of name survives, what becomes of content, and whether new times do.

    All ways where they are few; where they are many, the extremes and the same sample each time.
    """
    rest = list(itertools.product(range(4), (False, True)))
    if math.prod(length + 1 for length in lengths) * len(rest) <= _MOST_IMAGES:
        for kept in itertools.product(*(range(length + 1) for length in lengths)):
            yield from ((kept, *each) for each in rest)
        return
    dice = random.Random(len(lengths))
    for each in rest:
        yield (tuple(0 for _ in lengths), *each)
        yield (tuple(lengths), *each)
    for _ in range(_MOST_IMAGES):
        yield (tuple(dice.randint(0, length) for length in lengths), *dice.choice(rest))


def _loss(kind: int) -> Callable[[Node], bytes | None]:
    """What becomes of content that is not durable: all of it stays, all is lost, a part, the values."""

    def loss(node: Node) -> bytes | None:
        content, durable = bytes(node.content), node.durable
        if kind == 0 or content == durable:
            return None
        common = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(content, durable, strict=False))
        )
        if kind == 1:
            return durable
        if kind == 2:
            return content[: common + (len(content) - common) // 2]
        return content[:common] + bytes(len(content) - common)

    return loss


def _status(node: Node) -> os.stat_result:
    kind = (node.mode, node.number, 1, node.links, node.user, node.user, len(node.content))
    times = (int(node.mtime), int(node.mtime), int(node.mtime))
    more = {
        "st_mtime": node.mtime,
        "st_mtime_ns": round(node.mtime * 1e9),
        "st_blocks": -(-max(len(node.content), node.allocated) // 512),
    }
    return os.stat_result((*kind, *times), more)
