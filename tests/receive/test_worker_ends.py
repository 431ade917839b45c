"""A live worker that retires, by its master's word or death, and one whose disk hangs."""

import os
import select
import socket
import time
from pathlib import Path

import pytest

from relayd.base.channel import RETIRED
from relayd.spool.disk import Disk
from relayd.spool.intake import LARGE
from tests.receive.live import LOOPS, WAIT, live


class Gate(Disk):
    """A disk whose fsync of new/ waits for an octet on a pipe, and tells on another that it does."""

    def __init__(self) -> None:
        self._reached, self._tell = os.pipe()
        self._wait, self._go = os.pipe()

    def sync_folder(self, path: str) -> None:
        if path.endswith("/new"):
            os.write(self._tell, b"x")
            os.read(self._wait, 1)
        super().sync_folder(path)

    def reached(self) -> None:
        """Wait until a commit waits."""
        assert select.select([self._reached], [], [], WAIT)[0]
        os.read(self._reached, 1)

    def let_go(self) -> None:
        """Let one go on."""
        os.write(self._go, b"x")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_worker_that_retires_says_what_it_owes(tmp_path: Path, loop: str) -> None:
    """No new sessions; an idle one ends, a commit that runs gets its 250 and then 421, and the status is 0."""
    gate = Gate()
    with live(tmp_path, loop=loop, disk=gate) as worker:
        idle, client = worker.client(), worker.client()
        client.begins()
        client.says(b"Hi\r\n.\r\n")
        gate.reached()
        worker.retire(0)
        assert [line[:9] for line in idle.hears_all()] == ["421 4.3.2"]
        gate.let_go()
        assert [line[:9] for line in client.hears_all()] == ["250 2.0.0", "421 4.3.2"]
        assert worker.status() == RETIRED
        assert worker.mail() == [b"Hi\r\n"]
        assert {each["reason"] for each in worker.events() if each["event"] == "session.closed"} == {"shutdown"}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_disk_that_hangs_does_not_keep_a_worker(tmp_path: Path, loop: str) -> None:
    """It ends without an answer when its time and the grace are over, and says so."""
    gate = Gate()
    with live(tmp_path, loop=loop, disk=gate, grace=0.05) as worker:
        client = worker.client()
        client.begins()
        client.says(b"Hi\r\n.\r\n")
        gate.reached()
        worker.retire(0)
        assert worker.status() == RETIRED
        assert client.hears_all() == []
        assert "the disk hangs" in worker.event("spool.failed")["reason"]


def test_a_session_in_a_transaction_has_its_time(tmp_path: Path) -> None:
    """It may finish the message; the worker ends as soon as the last one has."""
    with live(tmp_path) as worker:
        idle, client = worker.client(), worker.client()
        client.begins()
        worker.retire(3600)
        assert idle.hears_all()[0].startswith("421 ")
        client.says(b"Hi\r\n.\r\n")
        assert [line[:3] for line in client.hears_all()] == ["250", "421"]
        assert worker.status() == RETIRED


@pytest.mark.parametrize("loop", LOOPS)
def test_a_worker_whose_master_died_gives_the_port_free(tmp_path: Path, loop: str) -> None:
    """At once, while a session in a transaction still has its time; then it ends by itself."""
    with live(tmp_path, loop=loop, settings='[process]\nstop_timeout = "1h"') as worker:
        address = worker.address
        idle, client = worker.client(), worker.client()
        client.begins()
        for listener in worker.listeners:
            listener.close()
        worker.channel.close()
        assert idle.hears_all()[0].startswith("421 ")
        assert_free(address)
        client.says(b"Hi\r\n.\r\n")
        assert [line[:3] for line in client.hears_all()] == ["250", "421"]
        assert worker.status() == RETIRED


def test_a_worker_whose_master_died_does_not_wait_for_ever(tmp_path: Path) -> None:
    """The time that a stop may take is the time its sessions have."""
    with live(tmp_path, settings='[process]\nstop_timeout = "50ms"') as worker:
        client = worker.client()
        client.begins()
        client.says(b"x" * (2 * LARGE))
        worker.channel.close()
        assert client.hears_all()[0].startswith("421 ")
        assert worker.status() == RETIRED
        assert worker.files() == worker.files("tmp") == []


def assert_free(address: tuple[str, int]) -> None:
    """Somebody else can listen there, as soon as the event loop has come to it."""
    deadline = time.monotonic() + WAIT
    while True:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                other.bind(address)
                other.listen()
            except OSError:
                assert time.monotonic() < deadline
            else:
                return
