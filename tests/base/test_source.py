"""Where a configuration comes from: what a relay that left its folder still finds, and what it goes on with."""

from pathlib import Path

import msgspec
import pytest

from relayd.base.config import ConfigError
from relayd.base.source import Source


def test_a_source_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master leaves the folder that the command line was relative to."""
    monkeypatch.chdir(tmp_path)
    Path("relayd.toml").write_text('hostname = "a.example.org"\n')
    source = Source.of(Path("relayd.toml"), spool=Path("there"), addresses=["127.0.0.1"], port=2525)
    monkeypatch.chdir("/")
    config = source.read().config()
    assert (config.source, config.hostname) == (tmp_path / "relayd.toml", "a.example.org")
    assert config.spool.directory == tmp_path / "there"
    assert [(each.address, each.port) for each in config.listeners] == [("127.0.0.1", 2525)]


def test_without_a_file_the_spool_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in defaults have it in the working directory of the start."""
    monkeypatch.chdir(tmp_path)
    source = Source.of(None)
    monkeypatch.chdir("/")
    assert source.read().config().spool.directory == tmp_path / "spool"


def test_what_was_read_is_kept_until_it_is_read_anew(tmp_path: Path) -> None:
    """A file that changes, or goes, does not change what a relay goes on with."""
    path = tmp_path / "relayd.toml"
    path.write_text('hostname = "a.example.org"\n')
    source = Source.of(path).read()
    path.write_text('hostname = "b.example.org"\n')
    assert source.config().hostname == "a.example.org"
    assert source.read().config().hostname == "b.example.org"
    path.unlink()
    assert source.config().hostname == "a.example.org"
    with pytest.raises(ConfigError, match=r"relayd\.toml: cannot be read: No such file"):
        source.read()


def test_a_mistake_in_it_names_the_file(tmp_path: Path) -> None:
    """As when the file itself is loaded, also where it is not UTF-8."""
    path = tmp_path / "relayd.toml"
    path.write_text("hostname = 5\n")
    with pytest.raises(ConfigError, match=rf"{path}: hostname = 5"):
        Source.of(path).read().config()
    path.write_bytes(b'hostname = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8 at octet 12"):
        Source.of(path).read()


def test_it_is_a_value_that_goes_through_an_exec(tmp_path: Path) -> None:
    """With whatever stands in the file."""
    path = tmp_path / "relayd.toml"
    path.write_text('# \N{SNOWMAN}\nhostname = "a.example.org"\n')
    source = Source.of(path, port=0).read()
    assert msgspec.json.decode(msgspec.json.encode(source), type=Source) == source
