"""A service: one relay with every kind of listener, its users and its certificate, and an exchanger behind it.

Hosts of 192.0.2.0/24 may relay, and so may users; a client on loopback that proves nothing is a stranger. Nothing
here imports relayd. What the ports are is read from `status` when it runs.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from .authority import Papers, certify
from .exchanger import Exchanger, Received
from .names import NameServer
from .relay import USER, Relay, relay

NAME, PASSWORD = "alice", "pass word"
ALLOWED = "192.0.2.0/24"
ZONE = """
example.test. 60 IN MX 10 mx.example.test.
mx.example.test. 60 IN A 127.0.0.2
"""
_LISTENERS = (
    "",
    'auth = "required"',
    'tls = "implicit"\nauth = "required"',
    'proxy = true\ntrusted = ["127.0.0.1"]',
)


@dataclass(frozen=True, slots=True)
class Service:
    """Ports: for everyone, for submission (STARTTLS), for submission with implicit TLS, and for a proxy."""

    running: Relay
    exchanger: Exchanger
    papers: Papers
    plain: int
    submission: int
    implicit: int
    proxied: int

    @property
    def accepted(self) -> int:
        """How many messages the relay has accepted so far."""
        return int(self.running.report()["totals"]["accepted"])

    def delivered(self) -> Received:
        """The one message that was sent, once the exchanger has it; AssertionError when there are more."""
        (message,) = self.exchanger.wait_for(1)
        self.running.wait_until_empty()
        assert len(self.exchanger.messages) == 1
        return message


@contextmanager
def service(
    *, allow: str = ALLOWED, extensions: tuple[bytes, ...] | None = None, **sections: str
) -> Iterator[Service]:
    """A running one, which must not have met a bug at the end.

    `sections` are more lines of the tables, `extensions` those of the exchanger.
    """
    listeners = "".join(f'[[listener]]\naddress = "127.0.0.1"\nport = 0\n{keys}\n' for keys in _LISTENERS)
    with Exchanger("127.0.0.2") as exchanger, NameServer(ZONE) as names:
        if extensions is not None:
            exchanger.extensions = extensions
        tables = {
            "relay": f'allow = ["{allow}"]',
            "tls": 'certificate = "relay.pem"\nkey = "relay.key"',
            "auth": 'users = "users"',
            "dns": f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            "delivery": f"port = {exchanger.port}\nprivate_exchangers = true",
        }
        for name, lines in sections.items():
            tables[name] = f"{tables.get(name, '')}\n{lines}"
        with relay(listeners, **tables) as running:
            owner = pwd.getpwnam(USER).pw_uid if USER else os.getuid()
            papers = certify(running.folder, "relay.example.org", "localhost", "127.0.0.1", owner=owner)
            users = running.folder / "users"
            users.touch(mode=0o600)
            users.write_bytes(_users())
            os.chown(users, owner, -1)
            running.start()
            places = [each["place"] for each in running.report()["listening"]]
            yield Service(running, exchanger, papers, *(int(place.rpartition(":")[2]) for place in places))
            assert running.events("bug") == []
            running.leave()


@cache
def _users() -> bytes:
    """The file of users as the command makes it, once: what guards a password takes its time."""
    with relay(auth='users = "users"') as made:
        added = made.command("user", "add", NAME, typed=f"{PASSWORD}\n")
        assert added.returncode == 0, added.stderr
        return (made.folder / "users").read_bytes()
