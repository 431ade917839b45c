"""What only a start can change, in words that other code can hold against its own."""

from pathlib import Path

import pytest

from relayd.base.config import load
from relayd.master.fixed import changed, fixed

USUAL = '[[listener]]\naddress = "127.0.0.1"\nport = 25\n[[listener]]\naddress = "::1"\nport = 25\n'


def words(tmp_path: Path, settings: str) -> dict[str, str]:
    """Of a file with these lines."""
    path = tmp_path / "relayd.toml"
    path.write_text(settings)
    return fixed(load(path))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (USUAL.replace("25", "26", 1), "[[listener]] address or port"),
        (USUAL.replace("::1", "localhost"), "[[listener]] address or port"),
        (USUAL + '[[listener]]\naddress = "127.0.0.2"\n', "[[listener]] address or port"),
        (USUAL + '[process]\nuser = "mail"\n', "[process] user"),
        (USUAL + "[process]\nworkers = 3\n", "[process] workers"),
        (USUAL + '[spool]\ndirectory = "/elsewhere"\n', "[process] pid_file"),
        (USUAL + '[log]\nfile = "/tmp/log"\n', "[log] file"),
    ],
)
def test_what_needs_a_restart_is_named(tmp_path: Path, settings: str, name: str) -> None:
    """In the words of the file."""
    assert changed(words(tmp_path, USUAL), words(tmp_path, settings)) == name


@pytest.mark.parametrize(
    "settings",
    [
        USUAL,
        USUAL + '[session]\ntimeout = "1m"\n',
        USUAL.replace("port = 25\n[[", 'port = 25\ntls = "off"\n[['),
        '[[listener]]\naddress = "::1"\nport = 25\n[[listener]]\naddress = "127.0.0.1"\nport = 25\n',
    ],
)
def test_everything_else_is_no_change(tmp_path: Path, settings: str) -> None:
    """Also the order of listeners, and what is offered at one."""
    assert changed(words(tmp_path, USUAL), words(tmp_path, settings)) is None


def test_what_only_one_of_two_versions_knows_is_no_change() -> None:
    """Code of another version may fix more, or less."""
    assert changed({"a": "1", "old": "x"}, {"a": "1", "new": "y"}) is None
    assert changed({"a": "1", "old": "x"}, {"a": "2", "new": "y"}) == "a"
