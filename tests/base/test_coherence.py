"""Coherence: what contradicts in a configuration, where the configuration's own test has not a line for it."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from relayd.base.coherence import contradiction, hears_passwords
from relayd.base.config import load
from relayd.base.sections import Auth, Listener


def test_a_proxys_clients_are_not_on_this_host(tmp_path: Path) -> None:
    """So no password is heard there without TLS, and a listener that requires one would serve nobody."""
    file = tmp_path / "relayd.toml"
    file.touch()
    config = replace(load(file), auth=Auth(tmp_path / "users", loopback_without_tls=True))
    direct = Listener("localhost", 587, tls="off", auth="required")
    proxied = replace(direct, proxy=True, trusted=(ip_network("127.0.0.1"),))
    assert hears_passwords(config, direct)
    assert not hears_passwords(config, proxied)
    assert contradiction(replace(config, listeners=(direct,)), [direct]) is None
    found = contradiction(replace(config, listeners=(proxied,)), [proxied])
    assert found is not None
    assert (found.key, found.value) == ("auth", "required")
