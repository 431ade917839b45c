"""A live worker as a process: signals, what the master says, boot, descriptors, listeners."""

import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from relayd.base.channel import CANNOT_BOOT, RETIRED, Begin, Garbled, Refused, Reopen, Waiting
from relayd.base.config import Config
from relayd.base.scheduling import processors
from tests.receive.live import HOST, LOOPS, WAIT, Live, live, start


def test_signals_are_the_masters_business(worker: Live) -> None:
    """Ctrl-C reaches the whole group and must not cut sessions; the others mean nothing to a worker."""
    with worker.client() as client:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(worker.pid, number)
        client.begins()
        client.says(b"Hi\r\n.\r\n")
        assert client.hears().startswith("250 ")
    worker.retire(0)
    assert worker.status() == RETIRED


def test_what_no_master_says_does_not_end_a_worker(worker: Live) -> None:
    """It is written down as a defect."""
    worker.channel.send(Garbled("?"))
    assert worker.channel.send(Reopen())
    with worker.client() as client:
        client.says(b"NOOP\r\n")
        assert client.hears() == "250 2.0.0 Ok"
    worker.retire(0)
    assert ["the master said" in each["traceback"] for each in worker.events() if each["event"] == "bug"] == [True]


@pytest.mark.skipif(processors() < 2, reason="this machine has one processor")
def test_the_last_of_the_workers_that_have_a_processor_each_stands_by(tmp_path: Path) -> None:
    """It leaves each client to the others for some milliseconds, and greets it when nobody else has."""
    with live(tmp_path, place=(processors() - 1, processors())) as worker:
        waits = []
        for _ in range(10):
            began = time.monotonic()
            with worker.client():
                waits.append(time.monotonic() - began)
        # At least: a machine that is busy may make it more.
        assert min(waits) > 0.005
        worker.retire(0)


def without_new(config: Config, listeners: list[socket.socket]) -> None:
    """A spool that lacks a folder."""
    (config.spool.directory / "new").rmdir()


def without_listener(config: Config, listeners: list[socket.socket]) -> None:
    """A listener that is closed already."""
    listeners[0].close()


def with_odd_listener(config: Config, listeners: list[socket.socket]) -> None:
    """A socket at which nobody can listen."""
    listeners[0] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("spoil", "reason", "bugs"),
    [
        (without_new, "new", 0),
        (without_listener, "Bad file descriptor", 0),
        (with_odd_listener, "not supported", 0),
    ],
)
def test_a_worker_that_cannot_boot_says_why(
    tmp_path: Path, loop: str, spoil: Callable[..., None], reason: str, bugs: int
) -> None:
    """On its channel, with the status that stops the master; a defect is written down too."""
    running = start(tmp_path, loop=loop, before=spoil)
    said = running.hears()
    if said == Waiting():
        # It is found when the listeners are taken.
        running.channel.send(Begin())
        said = running.hears()
    assert isinstance(said, Refused)
    assert said.reason.startswith("worker: ")
    assert reason in said.reason
    assert running.status() == CANNOT_BOOT
    assert len([each for each in running.events() if each["event"] == "bug"]) == bugs
    running.close()


def test_sessions_beyond_the_descriptors_hear_421(tmp_path: Path) -> None:
    """Those that are there go on, each with room for its message; afterwards there is room again."""
    with live(tmp_path, files=psutil.Process().num_fds() + 70) as worker:
        clients = []
        for _ in range(70):
            client = worker.client(greeted=False)
            clients.append(client)
            greeting = client.hears()
            if not greeting.startswith("220 "):
                break
        assert greeting == f"421 4.3.2 {HOST} Error: too many connections"
        assert client.hears() == ""
        inside = clients[:-1]
        assert len(inside) >= 5
        for client in inside:
            client.begins()
            client.says(b"x" * 300_000)
        for client in inside:
            client.says(b"\r\n.\r\n")
            assert client.hears().startswith("250 ")
        for client in clients:
            client.dies()
        for _ in inside:
            worker.event("session.closed")
        with worker.client() as client:
            client.says(b"NOOP\r\n")
            assert client.hears() == "250 2.0.0 Ok"
        worker.retire(0)
        assert worker.status() == RETIRED


def test_a_crowd_at_the_door_waits_in_the_kernel(worker: Live) -> None:
    """The loops would make the queue of the listener a short one."""
    largest = int(Path("/proc/sys/net/core/somaxconn").read_text())
    information = worker.listeners[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    # Of a listener, tcpi_sacked is the length of its queue.
    assert struct.unpack_from("=I", information, 28)[0] == min(4096, largest)


def test_a_lack_of_descriptors_at_accept_passes(worker: Live, capfd: pytest.CaptureFixture[str]) -> None:
    """The worker neither spins nor dies, nor writes to standard error; who waits is served then."""
    process = psutil.Process(worker.pid)
    with worker.client() as client:
        soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        # The limit is on numbers: below the lowest that is free there is none.
        used = {int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")}
        lowest = next(number for number in range(len(used) + 1) if number not in used)
        process.rlimit(psutil.RLIMIT_NOFILE, (lowest, hard))
        others = []
        for _ in range(5):
            other = socket.create_connection(worker.address, WAIT)
            others.append(other)
        client.says(b"NOOP\r\n")
        assert client.hears() == "250 2.0.0 Ok"
        process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
        for other in others:
            other.close()
        with worker.client() as later:
            later.says(b"NOOP\r\n")
            assert later.hears() == "250 2.0.0 Ok"
    worker.retire(0)
    events = worker.events()
    refused = [each["reason"] for each in events if each["event"] == "session.refused"]
    assert refused == ["accept: Too many open files"]
    assert [each for each in events if each["event"] == "bug"] == []
    assert capfd.readouterr() == ("", "")


def test_a_worker_whose_listener_died_makes_place_for_another(worker: Live) -> None:
    """It would hear of no client any more."""
    worker.listeners[0].shutdown(socket.SHUT_RDWR)
    assert worker.status() == 1
    events = worker.events()
    assert [each["where"] for each in events if each["event"] == "bug"] == ["listener"]
    assert len(events) < 100


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_has_waited_for_the_worker_is_counted(tmp_path: Path, loop: str) -> None:
    """Its session may begin before the last listener is served; it is not one of a worker that is gone."""
    waiting: list[socket.socket] = []

    def wait(config: Config, listeners: list[socket.socket]) -> None:
        waiting.append(socket.create_connection(listeners[0].getsockname()))

    addresses = tuple(f"127.0.0.{last}" for last in range(1, 9))
    settings = "[session]\nper_client = 1"
    with (
        live(tmp_path, loop=loop, addresses=addresses, settings=settings, before=wait) as worker,
        worker.client(greeted=False, source="127.0.0.1") as client,
    ):
        assert client.hears().startswith("421 4.7.0 ")
