"""Ways: what the configuration makes of this host's name and addresses on the way out."""

import random
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.base.config import load
from relayd.base.counters import Board
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.deliver.ways import Ways, ways_of

LISTENING = frozenset({(ip_address("127.0.0.1"), 25)})


def ways(folder: Path, settings: str) -> Ways:
    """The ways of a configuration."""
    path = folder / "relayd.toml"
    path.write_text(settings)
    return ways_of(load(path), LISTENING, Limits(), Board(1).slot(0), lambda event: None, random.Random(1))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ('hostname = "relay.example.org"', "relay.example.org"),
        ('hostname = "[192.0.2.1]"', "[192.0.2.1]"),
        ('hostname = "relay"', None),
        ('hostname = "localhost"', None),
        ('hostname = "relay.local"', None),
        ('hostname = "relay"\n[delivery]\nehlo_name = "out.example.org"', "out.example.org"),
        ('hostname = "relay.example.org"\n[delivery]\nehlo_name = "out.example.org"', "out.example.org"),
    ],
)
def test_ehlo_has_a_name_that_other_hosts_know(tmp_path: Path, settings: str, name: str | None) -> None:
    """A short one means nothing elsewhere: then each connection says its own address."""
    assert ways(tmp_path, settings).ehlo_name == name


@pytest.mark.parametrize(
    ("exchanger", "address"),
    [
        ("relay.example.org", "192.0.2.1"),
        ("other.example.org", "127.0.0.1"),
        ("other.example.org", "198.51.100.7"),
    ],
)
def test_this_host_is_known_by_name_listener_and_own_addresses(
    tmp_path: Path, exchanger: str, address: str
) -> None:
    """In any case of the name's letters."""
    settings = 'hostname = "Relay.Example.ORG"\n[delivery]\nown_addresses = ["198.51.100.7"]'
    candidate = Candidate(10, exchanger, ip_address(address), 25)
    assert ways(tmp_path, settings).ourselves.include(candidate)
