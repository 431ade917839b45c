"""The reader: what it finds in a file that was changed, in a process of its own."""

import gc
import os
import select
import socket
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest

from relayd.base.bound import Bound
from relayd.base.channel import Ready, Refused
from relayd.base.log import Log
from relayd.base.sections import Listener
from relayd.base.source import Source
from relayd.master.generation import Plan
from relayd.master.privileges import Identity
from relayd.master.reader import Reader

BEFORE = 'hostname = "one.example.org"\n[[listener]]\naddress = "127.0.0.1"\nport = 2525\n'


def reader(folder: Path, text: str = BEFORE, bound: Sequence[Bound] = ()) -> tuple[Reader, Path]:
    """One for a file with this text, and the file."""
    path = folder / "relayd.toml"
    path.write_text(text)
    source = Source.of(path, spool=folder).read()
    config = source.config()
    return Reader(Plan(source, config), Identity("me", os.getuid(), os.getgid(), ()), bound), path


def says(read: Reader, folder: Path) -> Ready | Refused:
    """What the child says; it is waited for."""
    read.child.fork(lambda: None, Log("text", folder / "log"))
    assert read.child.channel is not None
    select.select([read.child.channel], [], [], 20)
    said = read.child.channel.receive()
    os.waitpid(read.child.pid, 0)
    read.child.ended()
    assert isinstance(said, Ready | Refused)
    return said


def test_a_good_configuration_comes_back_whole(tmp_path: Path) -> None:
    """With its source as it stands now, and warnings."""
    read, path = reader(tmp_path)
    path.write_text(BEFORE.replace("one.example.org", "two"))
    assert says(read, tmp_path) == Ready()
    plan = read.plan()
    assert plan.config.hostname == "two"
    assert plan.config == plan.source.config()
    assert plan.source.text == path.read_text()
    assert any("not a fully qualified name" in warning for warning in plan.warnings)
    read.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hostname = ", "not TOML"),
        ('hostname = "a b"', "hostname"),
        (BEFORE.replace("2525", "2526"), "[[listener]] address or port has changed; restart needed"),
        (BEFORE + '[[listener]]\naddress = "127.0.0.2"\nport = 26\n', "restart needed"),
        (BEFORE + "[process]\nworkers = 7\n", "[process] workers has changed; restart needed"),
        (BEFORE + '[process]\npid_file = "other"\n', "[process] pid_file has changed; restart needed"),
        (BEFORE + '[log]\nfile = "other"\n', "[log] file has changed; restart needed"),
        (BEFORE + '[tls]\ncertificate = "none"\nkey = "none"\n', "is not there"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(tmp_path: Path, text: str | None, why: str) -> None:
    """With the file and the reason."""
    read, path = reader(tmp_path)
    path.unlink()
    if text is not None:
        path.write_text(text)
    said = says(read, tmp_path)
    assert isinstance(said, Refused)
    assert why in said.reason
    assert "\n" not in said.reason
    read.close()


def test_what_a_listener_offers_may_change(tmp_path: Path) -> None:
    """Its address and its port may not."""
    read, path = reader(tmp_path)
    path.write_text(BEFORE + 'tls = "off"\nauth = "off"\n')
    assert says(read, tmp_path) == Ready()
    read.close()


def metrics(port: int) -> str:
    """The configuration with that."""
    return BEFORE + f'[metrics]\nlisten = "127.0.0.1:{port}"\n'


def test_a_port_for_metrics_that_somebody_else_has_is_refused(tmp_path: Path) -> None:
    """The process of metrics would die again and again; that it has the port itself by now is no reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        read, path = reader(tmp_path)
        path.write_text(metrics(port))
        said = says(read, tmp_path)
        assert isinstance(said, Refused)
        assert f"[metrics] listen: cannot listen at 127.0.0.1:{port}: Address already in use" in said.reason
        read.close()
        read, path = reader(tmp_path, metrics(port))
        path.write_text(metrics(port).replace("127.0.0.1:", "0.0.0.0:"))
        assert says(read, tmp_path) == Ready()
        read.close()


def test_a_reader_that_hangs_holds_no_port(tmp_path: Path) -> None:
    """The next master needs them, should this one die meanwhile."""
    listening = socket.create_server(("127.0.0.1", 0))
    place = listening.getsockname()
    read, path = reader(tmp_path, bound=[Bound(listening, Listener("127.0.0.1", 25))])
    path.unlink()
    # Opening it waits until somebody writes.
    os.mkfifo(path)
    read.child.fork(lambda: None, Log("text", tmp_path / "log"))
    with path.open("w") as written:
        listening.close()
        socket.create_server(place).close()
        written.write(BEFORE)
    os.waitpid(read.child.pid, 0)
    read.child.ended()
    read.close()


def test_nothing_of_a_reading_stays_in_the_master(tmp_path: Path) -> None:
    """It goes without the collector, which does not look at what was there at a fork."""
    gc.disable()
    try:
        read, _ = reader(tmp_path)
        assert says(read, tmp_path) == Ready()
        gone = weakref.ref(read.child.slot), weakref.ref(read)
        read.close()
        del read
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_the_memory_is_given_back(tmp_path: Path) -> None:
    """At once, and once only."""
    read, _ = reader(tmp_path)
    with socket.socket() as probe:
        before = probe.fileno()
    read.close()
    read.close()
    with socket.socket() as probe:
        assert probe.fileno() <= before
