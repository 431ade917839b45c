"""Many files synced together: each has its own result; without the kernel's help one comes after another."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from relayd.spool.together import Queue, TogetherDisk


def kernel_has_it() -> bool:
    """Whether this kernel syncs files by io_submit."""
    try:
        Queue()
    except OSError:
        return False
    return True


needs_kernel = pytest.mark.skipif(not kernel_has_it(), reason="this system has no io_submit")


@pytest.fixture
def fds(tmp_path: Path) -> Iterator[list[int]]:
    """Files with something in them."""
    found = [os.open(tmp_path / str(number), os.O_WRONLY | os.O_CREAT, 0o600) for number in range(5)]
    for fd in found:
        os.write(fd, b"octets")
    yield found
    for fd in found:
        os.close(fd)


class OneAfterAnother(TogetherDisk):
    """Tells which files were synced by a call of their own."""

    def __init__(self, queue: type[Queue] = Queue) -> None:
        super().__init__(queue)
        self.synced: list[int] = []

    def sync(self, fd: int) -> None:
        self.synced.append(fd)
        super().sync(fd)


class Refusing(Queue):
    """A kernel that has none."""

    def __init__(self) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


class Busy(Queue):
    """A kernel that takes no request now."""

    def begin(self, fds: Sequence[int]) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Half(Queue):
    """A kernel that takes two at a time."""

    def begin(self, fds: Sequence[int]) -> int:
        return super().begin(fds[:2])


@needs_kernel
def test_all_files_of_a_group_are_synced_by_one_call(fds: list[int]) -> None:
    """None by a call of its own."""
    disk = OneAfterAnother()
    assert disk.sync_all(fds) == [None] * 5
    assert disk.synced == []


def test_a_single_file_is_synced_by_fsync(fds: list[int]) -> None:
    """There is nothing to share."""
    disk = OneAfterAnother()
    assert disk.sync_all(fds[:1]) == [None]
    assert disk.synced == fds[:1]


def test_a_file_that_cannot_be_synced_fails_alone(fds: list[int]) -> None:
    """Its number of the error is its own; the others are on the medium."""
    reading, writing = os.pipe()
    try:
        found = TogetherDisk().sync_all([*fds[:2], reading, *fds[2:]])
    finally:
        os.close(reading)
        os.close(writing)
    assert [error and error.errno for error in found] == [None, None, errno.EINVAL, None, None, None]


def test_a_descriptor_that_is_closed_fails_alone(fds: list[int]) -> None:
    """The kernel takes only those before it; the rest is not forgotten."""
    gone = os.dup(fds[0])
    os.close(gone)
    found = TogetherDisk().sync_all([*fds[:2], gone, *fds[2:]])
    assert [error and error.errno for error in found] == [None, None, errno.EBADF, None, None, None]


@pytest.mark.parametrize("queue", [Refusing, Busy])
def test_where_the_kernel_has_no_queue_files_are_synced_one_after_another(
    fds: list[int], queue: type[Queue]
) -> None:
    """Nothing else changes."""
    disk = OneAfterAnother(queue) if queue is Refusing or kernel_has_it() else OneAfterAnother(Refusing)
    assert disk.sync_all(fds) == [None] * 5
    assert disk.synced == fds


class Silent(Queue):
    """A kernel that does not tell what became of the first group."""

    is_first = True

    def _call(self, number: int, *words: object) -> int:
        if number == self._events and type(self).is_first:
            type(self).is_first = False
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return super()._call(number, *words)


@needs_kernel
def test_what_is_not_known_to_be_on_the_medium_counts_as_lost(fds: list[int]) -> None:
    """All of the group; and its late answers are nobody else's."""
    disk = OneAfterAnother(Silent)
    assert [error and error.errno for error in disk.sync_all(fds)] == [errno.EINVAL] * 5
    assert disk.sync_all(fds) == [None] * 5


@needs_kernel
def test_what_the_kernel_does_not_take_at_once_follows(fds: list[int]) -> None:
    """In as many calls as it needs."""
    disk = OneAfterAnother(Half)
    assert disk.sync_all(fds) == [None] * 5
    # Two, two, and one that is alone.
    assert disk.synced == fds[4:]


@needs_kernel
def test_more_files_than_the_queue_has_room_for_are_synced(tmp_path: Path) -> None:
    """All of them."""
    found = [os.open(tmp_path / str(number), os.O_WRONLY | os.O_CREAT, 0o600) for number in range(300)]
    try:
        assert TogetherDisk().sync_all(found) == [None] * 300
    finally:
        for fd in found:
            os.close(fd)


@needs_kernel
def test_a_forked_process_has_a_queue_of_its_own(fds: list[int]) -> None:
    """Its parent's is not there."""
    disk = OneAfterAnother()
    disk.sync_all(fds)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if disk.sync_all(fds) == [None] * 5 and not disk.synced else 1)
    assert os.waitpid(pid, 0)[1] == 0
