"""What clients find at each listener, as it is reported."""

import dataclasses
from pathlib import Path

import pytest

from relayd.base.config import Config, load
from relayd.base.sections import Auth, Listener, Tls
from relayd.master.listeners import bind, close
from relayd.master.report import Listening, listening

TLS = Tls(Path("/c"), Path("/k"))
USERS = Auth(Path("/u"), loopback_without_tls=False)


def config(tls: Tls | None, auth: Auth | None) -> Config:
    """The defaults, with these tables."""
    return dataclasses.replace(load(None), tls=tls, auth=auth)


@pytest.mark.parametrize(
    ("listener", "tls", "auth", "found"),
    [
        (Listener("127.0.0.1", 0), None, None, ("off", "off")),
        (Listener("127.0.0.1", 0), TLS, None, ("starttls", "off")),
        (Listener("127.0.0.1", 0), None, USERS, ("off", "off")),
        (Listener("127.0.0.1", 0), TLS, USERS, ("starttls", "offered")),
        (Listener("127.0.0.1", 0, tls="off"), TLS, USERS, ("off", "off")),
        (Listener("127.0.0.1", 0, tls="implicit", auth="required"), TLS, USERS, ("implicit", "required")),
        (
            Listener("127.0.0.1", 0),
            None,
            dataclasses.replace(USERS, loopback_without_tls=True),
            ("off", "offered"),
        ),
    ],
)
def test_what_is_reported_is_what_clients_get(
    listener: Listener, tls: Tls | None, auth: Auth | None, found: tuple[str, str]
) -> None:
    """STARTTLS without a certificate is none, and AUTH without TLS is none either."""
    bound = bind([listener])
    (said,) = listening(config(tls, auth), bound)
    assert (said.tls, said.auth) == found
    assert said.place.startswith("127.0.0.1:")
    close(bound)


def test_a_port_for_proxies_is_reported_as_one() -> None:
    """Nobody else gets a word there."""
    bound = bind([Listener("127.0.0.1", 0, proxy=True)])
    (said,) = listening(config(None, None), bound)
    assert said == Listening(said.place, proxy=True)
    close(bound)
