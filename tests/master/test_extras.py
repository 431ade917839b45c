"""Extras: packages that only some configurations need."""

from pathlib import Path

import pytest

from relayd.base.config import load
from relayd.master import extras
from relayd.master.trouble import StartFailed


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


def test_a_package_that_is_broken_stops_only_who_wants_it(tmp_path: Path) -> None:
    """With the reason, in one line."""

    def broken(name: str) -> object:
        raise ImportError("No module named 'prometheus_client.core'")

    path = tmp_path / "relayd.toml"
    path.write_text("")
    extras.load(load(path), broken)
    path.write_text('[metrics]\nlisten = "127.0.0.1:9125"\n')
    with pytest.raises(StartFailed, match=r"^\[metrics\] listen: .*No module named"):
        extras.load(load(path), broken)
