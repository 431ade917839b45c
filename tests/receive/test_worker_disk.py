"""A live worker whose disk fails, is full, or listens to nobody."""

import errno
import os
import select
from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from relayd.spool.intake import LARGE
from tests.receive.live import TRANSACTION, WAIT, Live, live


class Failing(Disk):
    """A disk on which one step fails, for all paths or descriptors."""

    def __init__(self, step: str, number: int) -> None:
        self._step = step
        self._error = OSError(number, os.strerror(number))

    def _fail(self, step: str) -> None:
        if step == self._step:
            raise self._error

    def create(self, path: str) -> int:
        self._fail("create")
        return super().create(path)

    def write(self, fd: int, octets: bytes) -> None:
        self._fail("write")
        super().write(fd, octets)

    def sync(self, fd: int) -> None:
        self._fail("sync")
        super().sync(fd)

    def rename(self, source: str, target: str) -> None:
        self._fail("rename")
        super().rename(source, target)

    def sync_folder(self, path: str) -> None:
        if path.endswith("/new"):
            self._fail("sync_folder")
        super().sync_folder(path)


@pytest.mark.parametrize("size", [4, 3 * LARGE])
@pytest.mark.parametrize(
    ("step", "number", "reply"),
    [
        ("create", errno.EMFILE, "451 4.3.0"),
        ("write", errno.EIO, "451 4.3.0"),
        ("write", errno.ENOSPC, "452 4.3.1"),
        ("write", errno.EDQUOT, "452 4.3.1"),
        ("sync", errno.EIO, "451 4.3.0"),
        ("rename", errno.EIO, "451 4.3.0"),
    ],
)
def test_a_disk_that_fails_is_the_clients_to_try_again(
    tmp_path: Path, step: str, number: int, reply: str, size: int
) -> None:
    """For small messages and large ones; nothing stays in tmp/, and the session and the worker go on."""
    with live(tmp_path, disk=Failing(step, number)) as worker:
        with worker.client() as client:
            client.begins()
            client.says(b"x" * size, b"\r\n.\r\nNOOP\r\n")
            assert client.hears().startswith(reply)
            assert client.hears() == "250 2.0.0 Ok"
        assert os.strerror(number) in worker.event("spool.failed")["reason"]
        assert worker.event("message.refused")["reply"].startswith(reply)
        assert worker.files() == worker.files("tmp") == []


def test_no_room_is_said_at_mail_and_once_in_the_log(tmp_path: Path) -> None:
    """452 4.3.1 for every client; one line, and the count of the others with the next one."""
    with live(tmp_path, settings='[spool]\nminimum_free = "1000000 GB"') as worker:
        with worker.client() as client:
            client.says(b"HELO c\r\n" + b"MAIL FROM:<>\r\n" * 10 + b"QUIT\r\n")
            replies = client.hears_all()
        assert [reply[:9] for reply in replies[1:-1]] == ["452 4.3.1"] * 10
        worker.retire(0)
        assert len([each for each in worker.events() if each["event"] == "spool.failed"]) == 1


def test_a_folder_that_cannot_be_synced_ends_the_worker_after_it_has_said_so(tmp_path: Path) -> None:
    """451 for the whole group, logged as uncertain, no further mail, and the exit status of a crash."""
    with live(tmp_path, disk=Failing("sync_folder", errno.EIO)) as worker:
        clients, idle = [worker.client() for _ in range(3)], worker.client()
        for client in clients:
            client.begins()
        for client in clients:
            client.says(b"Hi\r\n.\r\n")
        for client in clients:
            assert client.hears().startswith("451 4.3.0 ")
            assert client.hears_all()[-1].startswith("421 4.3.2 ")
        assert idle.hears_all()[-1].startswith("421 4.3.2 ")
        assert worker.status() == 1
        troubles = [each["reason"] for each in worker.events() if each["event"] == "spool.failed"]
        assert any("uncertain" in each for each in troubles)


def test_hints_that_nobody_takes_do_not_hold_up_mail(worker: Live) -> None:
    """The names of messages are told to delivery as long as it listens; mail goes on when it does not."""
    with worker.client() as client:
        client.begins()
        client.says(b"Hi\r\n.\r\n")
        client.hears()
        assert select.select([worker.hints], [], [], WAIT)[0]
        assert worker.hints.receive() == [worker.files()[0].name]
        while select.select([], [worker.hints._sending], [], 0)[1]:
            worker.hints.send(["x" * 2000])
        client.says(TRANSACTION)
        assert [client.hears()[:3] for _ in range(3)][-1] == "354"
        client.says(b"Ho\r\n.\r\n")
        assert client.hears().startswith("250 ")
