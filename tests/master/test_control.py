"""The control socket: one question, one answer."""

import os
import select
import socket
import threading
from pathlib import Path

import pytest

from relayd.master.control import Control, NotRunning, Request, StatusPlease, StopPlease, ask, socket_path
from relayd.master.privileges import Identity
from relayd.master.report import Listening, Report

ME = Identity("me", os.geteuid(), os.getegid(), ())
REPORT = Report("0", 1, 2.0, "running", "me", [Listening("127.0.0.1:25")], [], {"sessions": 3})


def serve(control: Control, heard: list[Request]) -> threading.Thread:
    """Answer one command in a thread."""

    def run() -> None:
        select.select([control], [], [], 5)
        connection = control.accept()
        assert connection is not None
        select.select([connection], [], [], 5)
        request = control.hear(connection)
        if request is not None:
            heard.append(request)
            control.answer(connection, REPORT)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("request_", [StatusPlease(), StopPlease()])
def test_a_request_arrives_and_its_report_comes_back(tmp_path: Path, request_: StatusPlease | StopPlease) -> None:
    """As it was said."""
    control = Control(tmp_path / "relayd.pid", ME)
    heard: list[Request] = []
    thread = serve(control, heard)
    assert ask(tmp_path / "relayd.pid", request_) == REPORT
    thread.join()
    assert heard == [request_]
    control.remove()
    assert not socket_path(tmp_path / "relayd.pid").exists()


def test_nobody_there_is_not_running(tmp_path: Path) -> None:
    """No socket, and a socket that a killed master left."""
    with pytest.raises(NotRunning, match="nobody listens"):
        ask(tmp_path / "relayd.pid", StatusPlease())
    Control(tmp_path / "relayd.pid", ME).close()
    with pytest.raises(NotRunning):
        ask(tmp_path / "relayd.pid", StatusPlease())


def test_a_folder_that_is_not_there_is_not_running(tmp_path: Path) -> None:
    """A spool that was never made."""
    with pytest.raises(NotRunning):
        ask(tmp_path / "none" / "relayd.pid", StatusPlease())


def test_a_request_that_is_none_gets_no_answer(tmp_path: Path) -> None:
    """It ends the connection and nothing else."""
    control = Control(tmp_path / "relayd.pid", ME)
    heard: list[Request] = []
    thread = serve(control, heard)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_path(tmp_path / "relayd.pid")))
        connection.sendall(b'{"ask": "everything"}')
        assert connection.recv(100) == b""
    thread.join()
    assert heard == []
    control.remove()


def test_who_listens_and_does_not_answer_is_not_called_nobody(tmp_path: Path) -> None:
    """One that hangs, and one that ends, or is of a version that does not know the request."""
    control = Control(tmp_path / "relayd.pid", ME)
    with pytest.raises(NotRunning, match=r"has not answered within 0 s"):
        ask(tmp_path / "relayd.pid", StatusPlease(), seconds=0.01)

    def end() -> None:
        for _ in range(2):
            select.select([control], [], [], 5)
            connection = control.accept()
            assert connection is not None
            connection.close()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(NotRunning, match="has ended, or does not understand"):
        ask(tmp_path / "relayd.pid", StatusPlease())
    thread.join()
    control.remove()


def test_only_its_owner_may_speak_to_it(tmp_path: Path) -> None:
    """Mode 0600, however open the umask was."""
    before = os.umask(0)
    try:
        control = Control(tmp_path / "relayd.pid", ME)
    finally:
        os.umask(before)
    assert socket_path(tmp_path / "relayd.pid").stat().st_mode & 0o777 == 0o600
    control.remove()


def test_the_socket_works_in_a_folder_whose_path_is_too_long_for_one(tmp_path: Path) -> None:
    """The kernel takes 107 octets; a spool may stand deeper."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    control = Control(folder / "relayd.pid", ME)
    thread = serve(control, [])
    assert ask(folder / "relayd.pid", StatusPlease()) == REPORT
    thread.join()
    control.remove()
