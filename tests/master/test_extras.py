"""Extras: packages that only some configurations need."""

from pathlib import Path

from relayd.base.config import load
from relayd.master import extras


def test_metrics_without_their_package_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """In one line that names the key and the package."""
    path = tmp_path / "relayd.toml"
    path.write_text('[metrics]\nlisten = "127.0.0.1:9125"\n')
    said = extras.trouble(load(path), lambda name: None)
    assert said is not None
    assert said.startswith("[metrics] listen: ")
    assert "pip install 'relayd[metrics]'" in said
    assert extras.trouble(load(path)) is None


def test_who_wants_no_metrics_needs_no_package(tmp_path: Path) -> None:
    """The default."""
    path = tmp_path / "relayd.toml"
    path.write_text("")
    assert extras.trouble(load(path), lambda name: None) is None
    extras.load(load(path))
