"""Next hops that nobody here wrote: Postfix with STARTTLS, as a smarthost, with few recipients a transaction."""

import os
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.world.authority import Papers, certify
from tests.world.dovecot import authenticating
from tests.world.mta import DOMAIN, Postfix, available, next_hop
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import Relay, relay
from tests.world.service import NAME, PASSWORD, service

needs_postfix = pytest.mark.skipif(not available(), reason="Postfix is missing, or this is not root")
ADDRESS, HOST = "127.0.0.2", f"mx.{DOMAIN}"
ZONE = f"""
{DOMAIN}. 60 IN MX 10 {HOST}.
{HOST}. 60 IN A {ADDRESS}
"""
LETTER = b"From: Alice <alice@example.org>\r\nSubject: Hello\r\n\r\n.dot\r\n..two\r\nend\r\n"


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    """Of a next hop, signed by an authority that nobody knows."""
    return certify(tmp_path, HOST)


@contextmanager
def sending(
    port: int, authority: Path | None = None, routes: str = "", password: str | None = None, **sections: str
) -> Iterator[Relay]:
    """A relay whose mail goes to this port, and that trusts an authority."""
    with NameServer(ZONE) as names:
        sections["delivery"] = f"port = {port}\nprivate_exchangers = true\n" + sections.get("delivery", "")
        sections["dns"] = f'nameservers = ["127.0.0.1:{names.address[1]}"]'
        if routes:
            sections['routes."*"'] = routes
        with relay(**sections) as running:
            if password is not None:
                say_password(running, password)
            environment = {}
            if authority is not None:
                trusted = running.folder / "trusted.pem"
                trusted.write_bytes(authority.read_bytes())
                environment["SSL_CERT_FILE"] = str(trusted)
            running.start(**environment)
            yield running
            running.leave()


def say_password(running: Relay, password: str) -> None:
    """Write the file that a route names."""
    path = running.folder / "password"
    path.touch(mode=0o600)
    path.write_text(f"{password}\n")
    # It is the relay's, whoever that is.
    owner = running.spool.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def send(running: Relay, *recipients: str, count: int = 1) -> None:
    """Hand in messages."""
    with smtplib.SMTP("127.0.0.1", running.port) as client:
        for _ in range(count):
            client.sendmail("alice@example.org", recipients or (f"bob@{DOMAIN}",), LETTER)


def delivered(running: Relay, count: int = 1) -> list[dict[str, Any]]:
    """The records of deliveries, once there are so many; nothing is left then."""
    found = running.wait_for_events("delivery.delivered", count)
    running.wait_until_empty()
    return found


def arrived(server: Postfix, count: int) -> list[bytes]:
    """What is in the Maildir, once there is so much."""
    server.wait_for("status=sent (delivered to maildir)", count)
    return server.messages


@needs_postfix
def test_postfix_gets_mail_through_tls(papers: Papers) -> None:
    """From the MX record, with a certificate of nobody's: the log and its own header field say how."""
    port = free_port(ADDRESS)
    with next_hop(ADDRESS, port, papers) as server, sending(port) as running:
        send(running, count=30)
        records = delivered(running, 30)
        messages = arrived(server, 30)
        assert all(record["tls"].startswith("TLSv1.3 TLS_") for record in records)
        assert all(b"(using TLSv1.3 with cipher " in message for message in messages)
        assert all(message.endswith(b"\n\n.dot\n..two\nend\n") for message in messages)


@needs_postfix
def test_postfix_is_verified_where_a_route_says_so(papers: Papers) -> None:
    """By the authority that is trusted; with another one the mail waits, and nothing of it goes."""
    port = free_port(ADDRESS)
    routes = f'hosts = ["{HOST}"]\nport = {port}\ntls = "verify"\n'
    with next_hop(ADDRESS, port, papers) as server:
        with sending(port, papers.authority, routes) as running:
            send(running)
            delivered(running)
            arrived(server, 1)
        with sending(port, None, routes) as running:
            send(running)
            (record,) = running.wait_for_events("delivery.deferred", 1)
            assert record["reply"].startswith("451 4.7.5 TLS: certificate verify failed: ")
        assert len(server.messages) == 1


@needs_postfix
def test_postfix_is_a_smarthost_with_a_password(papers: Papers) -> None:
    """A wrong one defers; the right one in the file counts at the next attempt, and no log has either."""
    port = free_port(ADDRESS)
    routes = f'hosts = ["{HOST}"]\nport = {port}\nuser = "relay@example.org"\npassword_file = "password"\n'
    given = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_authenticated_header": "yes",
        "smtpd_tls_auth_only": "yes",
        "smtpd_client_restrictions": "permit_sasl_authenticated,reject",
    }
    with (
        authenticating("relay@example.org", "tr0ub4dor&3") as path,
        next_hop(ADDRESS, port, papers, smtpd_sasl_path=str(path), **given) as server,
        sending(port, papers.authority, routes, "correct horse") as running,
    ):
        send(running)
        (record,) = running.wait_for_events("delivery.deferred", 1)
        assert record["reply"].startswith("454 4.7.8 authentication was refused: 535 5.7.8 ")
        say_password(running, "tr0ub4dor&3")
        assert running.command("queue", "flush").returncode == 0
        delivered(running)
        (message,) = arrived(server, 1)
        assert b"(Authenticated sender: relay@example.org)" in message
        told = running.log_text()
        assert "correct horse" not in told
        assert "tr0ub4dor" not in told


@needs_postfix
def test_postfix_that_takes_few_recipients_gets_the_rest_at_once(papers: Papers) -> None:
    """Section 4.5.3.1.10: in further transactions, not after a wait."""
    port = free_port(ADDRESS)
    with next_hop(ADDRESS, port, papers, smtpd_recipient_limit="3") as server, sending(port) as running:
        send(running, *(f"user{number}@{DOMAIN}" for number in range(8)))
        delivered(running, 3)
        arrived(server, 8)
        assert running.events("delivery.deferred") == []


@needs_postfix
def test_postfix_without_tls_gets_mail_in_the_clear(papers: Papers) -> None:
    """There is nothing to wait for."""
    port = free_port(ADDRESS)
    given = {"smtpd_tls_security_level": "none"}
    with next_hop(ADDRESS, port, papers, **given) as server, sending(port) as running:
        send(running)
        (record,) = delivered(running)
        assert "tls" not in record or record["tls"] == ""
        (message,) = arrived(server, 1)
        assert b"using TLS" not in message


def test_a_relay_is_another_relays_smarthost() -> None:
    """STARTTLS that is verified by address, and a user of its own."""
    with service() as there:
        routes = f'hosts = ["127.0.0.1"]\nport = {there.submission}\nuser = "{NAME}"\npassword_file = "password"\n'
        with sending(25, there.papers.authority, routes, PASSWORD) as running:
            send(running, "bob@example.test")
            (record,) = delivered(running)
            assert record["tls"].startswith("TLSv1.3 ")
        message = there.delivered()
        assert message.data.endswith(b"\r\n\r\n.dot\r\n..two\r\nend\r\n")
        (accepted,) = there.running.wait_for_events("auth.accepted")
        assert (accepted["user"], accepted["mechanism"]) == (NAME, "PLAIN")
