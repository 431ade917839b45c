"""A desk: all that an approach needs, what it said, and a message to come to MAIL for."""

import random
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from relayd.base import events
from relayd.base.config import load
from relayd.base.counters import Board
from relayd.base.sections import Route, TlsMode
from relayd.base.tls import client_context
from relayd.deliver.connection import Connection
from relayd.deliver.exchangers import Candidate
from relayd.deliver.handshakes import MAKERS, Handshakes
from relayd.deliver.limits import Limits
from relayd.deliver.security import FALLBACK_AGE, approach
from relayd.deliver.ways import Ways, ways_of
from relayd.smtp.client import Finished, Order, Phase, SendContent
from relayd.smtp.reply import Reply
from relayd.smtp.transcript import Transcript
from relayd.spool.ids import Ids
from tests.world.authority import Papers, certify
from tests.world.exchanger import Exchanger

NAME = "mx.example.net"
MESSAGE = Ids().next()
YOUNG, OLD = timedelta(0), FALLBACK_AGE
_ORDER = Order("a@example.org", ("b@example.net",))


def papers_of(folder: Path) -> Papers:
    """An exchanger's, for its name and its address."""
    return certify(folder, NAME, "127.0.0.1")


def server_of(papers: Papers) -> ssl.SSLContext:
    """The TLS of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate, papers.key)
    return context


class Desk:
    """What an approach needs, and what it said."""

    def __init__(self, folder: Path, papers: Papers, settings: str = "", **limits: float) -> None:
        self.folder = folder
        self.events: list[events.Event] = []
        path = folder / "relayd.toml"
        path.write_text(f'hostname = "relay.example.org"\n[delivery]\n{settings}\n')

        def trusting() -> ssl.SSLContext:
            context = client_context(verify=True)
            context.load_verify_locations(papers.authority)
            return context

        replies = {**Limits().replies, **{Phase[name]: seconds for name, seconds in limits.items()}}
        self.ways: Ways = replace(
            ways_of(
                load(path),
                frozenset(),
                Limits(replies=replies),
                Board(1).slot(0),
                self.events.append,
                random.Random(1),
            ),
            handshakes=Handshakes({**MAKERS, "verify": trusting}),
        )

    def route(self, mode: TlsMode = "opportunistic", password: str | None = None) -> Route:
        """A route with this TLS; a password makes it one with a user."""
        if password is None:
            return Route((NAME,), tls=mode)
        file = self.folder / "password"
        file.touch(mode=0o600)
        file.write_text(f"{password}\n")
        return Route((NAME,), tls=mode, user="relay", password_file=file)

    async def reach(self, to: Candidate, route: Route | None = None, age: timedelta = YOUNG) -> Connection | Reply:
        """Come to MAIL with a message of this age."""
        made = approach(self.ways, MESSAGE, datetime.now(UTC) - age, route, lambda _: Transcript(time.monotonic))
        if isinstance(made, Reply):
            return made
        opened = await made.open(to, self.ways.limits)
        assert isinstance(opened, Connection)
        return await made.ready(opened)


def at(exchanger: Exchanger, name: str = NAME) -> Candidate:
    """The candidate that it is."""
    return Candidate(10, name, ip_address("127.0.0.1"), exchanger.port)


async def deliver(connection: Connection | Reply, mail_data: bytes = b"Subject: x\r\n\r\ntext\r\n") -> str:
    """One message over it, and QUIT; the reply."""
    assert isinstance(connection, Connection), connection
    connection.begin(_ORDER)
    assert await connection.event() == SendContent()
    connection.send_small_content(mail_data)
    finished = await connection.event()
    assert isinstance(finished, Finished)
    await connection.leave()
    return str(finished.result.replies[0])
