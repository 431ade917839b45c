"""What a service manager hears, over both kinds of socket."""

import contextlib
import os
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relayd.master.notify import Notify


def listening(address: str) -> socket.socket:
    """The service manager's end."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(address)
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_states_are_said_as_systemd_reads_them(kind: str) -> None:
    """READY with MAINPID, RELOADING with the time, STOPPING, WATCHDOG."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"{folder}/notify" if kind == "path" else f"@relayd-test-{os.getpid()}"
        with listening(name.replace("@", "\0")) as manager:
            notify = Notify({"NOTIFY_SOCKET": name}, 42)
            notify.ready(42)
            notify.reloading(1.5)
            notify.stopping()
            notify.beat()
            assert [manager.recv(4096) for _ in range(4)] == [
                b"READY=1\nMAINPID=42",
                b"RELOADING=1\nMONOTONIC_USEC=1500000",
                b"STOPPING=1",
                b"WATCHDOG=1",
            ]


def test_a_status_is_one_line_and_said_once(tmp_path: Path) -> None:
    """A newline in it would be another assignment; the same line again is no news."""
    with listening(str(tmp_path / "n")) as manager:
        notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "n")}, 42)
        notify.status("one\nREADY=1  " + "x" * 5000)
        notify.status("one\nREADY=1  " + "x" * 5000)
        notify.status("two")
        said = manager.recv(10_000)
        assert said.startswith(b"STATUS=one READY=1 x")
        assert len(said) < 1100
        assert manager.recv(10_000) == b"STATUS=two"


def test_a_manager_that_is_gone_or_full_stops_nothing(tmp_path: Path) -> None:
    """No socket, a socket that nobody reads, and nobody who asked."""
    Notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, 42).ready(42)
    Notify({}, 42).ready(42)
    with listening(str(tmp_path / "n")), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        fill(others, tmp_path / "n")
        Notify({"NOTIFY_SOCKET": str(tmp_path / "n")}, 42).beat()


def test_a_manager_that_is_busy_for_a_moment_still_hears(tmp_path: Path) -> None:
    """At a boot many speak to it at once, and without READY it would end us."""
    with listening(str(tmp_path / "n")) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        count = fill(others, tmp_path / "n")
        with ThreadPoolExecutor(1) as pool:
            saying = pool.submit(Notify({"NOTIFY_SOCKET": str(tmp_path / "n")}, 42).ready, 42)
            for _ in range(count):
                manager.recv(100)
            saying.result(10.0)
        assert manager.recv(100) == b"READY=1\nMAINPID=42"


def test_a_status_that_was_not_taken_is_said_again(tmp_path: Path) -> None:
    """And nobody waits for it."""
    with listening(str(tmp_path / "n")) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "n")}, 42)
        count = fill(others, tmp_path / "n")
        notify.status("all is well")
        for _ in range(count):
            manager.recv(100)
        notify.status("all is well")
        assert manager.recv(100) == b"STATUS=all is well"


def fill(sending: socket.socket, address: Path) -> int:
    """Send until nothing more is taken; give how many were."""
    sending.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sending.sendto(b"x", str(address))
            count += 1
    return count


@pytest.mark.parametrize(
    ("environment", "every"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_the_watchdog_hears_from_us_at_half_of_its_time(environment: dict[str, str], every: float | None) -> None:
    """When it waits for this process; what is no number is nobody's wish."""
    assert Notify({"NOTIFY_SOCKET": "/run/n", **environment}, 42).beat_every == every


@pytest.mark.parametrize("address", ["", "@", "relative", "vsock:2:1"])
def test_an_address_of_no_known_kind_is_not_spoken_to(address: str) -> None:
    """And then no watchdog waits for us either."""
    notify = Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}, 42)
    notify.ready(42)
    assert notify.beat_every is None
