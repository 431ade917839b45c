"""A live worker that another one replaces: it waits for its word to begin, and leaves without a word."""

import os
import select
from contextlib import suppress
from pathlib import Path

import pytest

from relayd.base.channel import RETIRED, Begin, Ready, Retire
from tests.receive.live import LOOPS, Live, live


def leaves(worker: Live, seconds: float) -> None:
    """Tell it that another one has the listeners now."""
    assert worker.channel.send(Retire(seconds, gently=True))


def closed(worker: Live) -> None:
    """Wait until it accepts no more: the socket that it shares with us has nobody else who asks for it."""
    while os.path.exists(f"/proc/{worker.pid}") and listens(worker):
        select.select([], [], [], 0.005)


def listens(worker: Live) -> bool:
    """Whether it has the listener open."""
    inode = os.fstat(worker.listeners[0].fileno()).st_ino
    folder = f"/proc/{worker.pid}/fd"
    try:
        found = [os.stat(f"{folder}/{name}").st_ino for name in os.listdir(folder)]
    except FileNotFoundError:
        return True
    return inode in found


@pytest.mark.parametrize("loop", LOOPS)
def test_sessions_go_on_as_if_nothing_had_happened(tmp_path: Path, loop: str) -> None:
    """One transaction after another, until QUIT; with the last session the worker ends."""
    with live(tmp_path, loop=loop) as worker:
        client = worker.client()
        client.begins()
        leaves(worker, 3600.0)
        closed(worker)
        client.says(b"Hi\r\n.\r\n")
        assert client.hears().startswith("250 ")
        client.says(b"MAIL FROM:<>\r\n")
        assert client.hears().startswith("250 ")
        client.says(b"QUIT\r\n")
        assert client.hears().startswith("221 ")
        assert worker.status() == RETIRED
        assert worker.mail() == [b"Hi\r\n"]


@pytest.mark.parametrize("loop", LOOPS)
def test_without_a_session_it_ends_at_once(tmp_path: Path, loop: str) -> None:
    """With the status that says so."""
    with live(tmp_path, loop=loop) as worker:
        leaves(worker, 3600.0)
        assert worker.status() == RETIRED


@pytest.mark.parametrize("loop", LOOPS)
def test_when_its_time_is_over_sessions_are_asked_to_end(tmp_path: Path, loop: str) -> None:
    """421 for an idle one; a transaction has as long as at a stop."""
    with live(tmp_path, loop=loop, settings='[process]\nstop_timeout = "1h"') as worker:
        idle, client = worker.client(), worker.client()
        client.begins()
        leaves(worker, 0.0)
        assert [line[:9] for line in idle.hears_all()] == ["421 4.3.2"]
        client.says(b"Hi\r\n.\r\n")
        assert [line[:9] for line in client.hears_all()] == ["250 2.0.0", "421 4.3.2"]
        assert worker.status() == RETIRED


def test_a_stop_does_not_wait_for_that_time(tmp_path: Path) -> None:
    """The later word counts, and the master's death is one."""
    second = tmp_path / "second"
    second.mkdir()
    with live(tmp_path) as worker:
        client = worker.client()
        leaves(worker, 3600.0)
        worker.retire(0)
        assert [line[:9] for line in client.hears_all()] == ["421 4.3.2"]
        assert worker.status() == RETIRED
    with live(second) as worker:
        client = worker.client()
        leaves(worker, 3600.0)
        worker.channel.close()
        assert [line[:9] for line in client.hears_all()] == ["421 4.3.2"]
        assert worker.status() == RETIRED


def test_a_later_word_gives_no_more_time(tmp_path: Path) -> None:
    """The master would kill it when the time of the first one is over, without a 421 for the client."""
    with live(tmp_path) as worker:
        client = worker.client()
        client.begins()
        worker.retire(0.2)
        worker.retire(3600)
        assert [line[:9] for line in client.hears_all()] == ["421 4.3.2"]
        assert worker.status() == RETIRED


@pytest.mark.parametrize("loop", LOOPS)
def test_nobody_whose_connection_was_accepted_is_cut_off(tmp_path: Path, loop: str) -> None:
    """Whoever connects while the listeners close is greeted by this worker, or waits for another one."""
    with live(tmp_path, loop=loop) as worker:
        clients = [worker.client(greeted=False) for _ in range(20)]
        leaves(worker, 3600.0)
        clients += [worker.client(greeted=False) for _ in range(20)]
        closed(worker)
        # Those that were not accepted are in the queue of the socket, which is ours too.
        waiting = set()
        worker.listeners[0].settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                connection, (_, port) = worker.listeners[0].accept()
                connection.close()
                waiting.add(port)
        for client in clients:
            if client.port not in waiting:
                assert client.hears().startswith("220 ")
                client.says(b"QUIT\r\n")
                assert client.hears().startswith("221 ")
        assert worker.status() == RETIRED


def test_before_its_word_it_serves_nobody(tmp_path: Path) -> None:
    """It can be told to end instead."""
    second = tmp_path / "second"
    second.mkdir()
    with live(tmp_path, begin=False) as worker:
        client = worker.client(greeted=False)
        assert not select.select([client.socket], [], [], 0.2)[0]
        assert worker.channel.send(Begin())
        assert worker.hears() == Ready()
        assert client.hears().startswith("220 ")
    with live(second, begin=False) as worker:
        worker.retire(0)
        assert worker.status() == RETIRED


def test_a_master_that_dies_before_is_the_end(tmp_path: Path) -> None:
    """Nobody would ever say it."""
    with live(tmp_path, begin=False) as worker:
        worker.channel.close()
        assert worker.status() == RETIRED
