"""Credentials on real sockets: where they go, what becomes of a refusal, and the file that has the password."""

import contextlib
import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.base.sections import Route
from relayd.deliver.connection import Connection
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.deliver.security import Approach, approach, tls_mode
from relayd.smtp.transcript import Transcript
from tests.deliver.desk import MESSAGE, NAME, Desk, at, deliver, papers_of, server_of
from tests.deliver.running import run
from tests.world.authority import Papers
from tests.world.exchanger import EXTENSIONS, Exchanger
from tests.world.session import Session

PASSWORD = "tr0ub4dor"
OFFERING = (*EXTENSIONS, b"AUTH LOGIN PLAIN")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Of an exchanger."""
    return papers_of(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def tls(papers: Papers) -> ssl.SSLContext:
    """Of a server."""
    return server_of(papers)


def _user(session: Session, line: bytes) -> bytes:
    return b"235 2.7.0 Ok\r\n" if line == b"AUTH PLAIN AHJlbGF5AHRyMHViNGRvcg==" else b"535 5.7.8 no\r\n"


def test_credentials_go_in_verified_tls(tmp_path: Path, papers: Papers, tls: ssl.SSLContext) -> None:
    """Which they imply; the transcript does not show them."""

    async def main() -> None:
        route = desk.route(password=PASSWORD)
        assert tls_mode(route) == "verify"
        connection = await desk.reach(at(exchanger), route)
        assert isinstance(connection, Connection)
        told = "\n".join(connection.transcript.lines())
        assert "C AUTH PLAIN [credentials]" in told
        assert "AHJlbGF5" not in told
        await deliver(connection)
        assert str(await desk.reach(at(exchanger, "other.example.net"), route)).startswith("451 4.7.5 TLS: ")

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls, extensions=OFFERING, replies={"AUTH": _user}) as exchanger:
        run(main)
        assert exchanger.commands["AUTH"] == 1


def test_credentials_that_are_refused_defer(tmp_path: Path, papers: Papers, tls: ssl.SSLContext) -> None:
    """Nobody's mail fails of the operator's password; a new one in the file counts at once."""

    async def main() -> None:
        answer = await desk.reach(at(exchanger), desk.route(password="old"))
        assert str(answer) == "454 4.7.8 authentication was refused: 535 5.7.8 no"
        assert isinstance(await desk.reach(at(exchanger), desk.route(password=PASSWORD)), Connection)

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls, extensions=OFFERING, replies={"AUTH": _user}) as exchanger:
        run(main)


def test_credentials_go_in_the_clear_to_this_host_only(tmp_path: Path, papers: Papers) -> None:
    """And only where the route has TLS off."""

    async def main() -> None:
        route = desk.route("off", PASSWORD)
        connection = await desk.reach(at(exchanger), route)
        assert isinstance(connection, Connection)
        await connection.leave()
        assert str(await desk.reach(at(exchanger), desk.route("require", PASSWORD))).startswith("451 4.7.4 ")

    desk = Desk(tmp_path, papers)
    with Exchanger(extensions=OFFERING, replies={"AUTH": _user}) as exchanger:
        run(main)
        assert exchanger.commands["AUTH"] == 1


def test_credentials_go_to_nobody_who_is_called_as_this_host_is(tmp_path: Path, papers: Papers) -> None:
    """A route to localhost may do without verifying; DNS may have another address for that name."""
    desk, transcript = Desk(tmp_path, papers), Transcript()
    made = approach(
        desk.ways, MESSAGE, datetime.now(UTC), desk.route("require", PASSWORD), lambda candidate: transcript
    )
    assert isinstance(made, Approach)
    elsewhere = Candidate(10, "localhost", ip_address("192.0.2.1"), 25)
    answer = run(lambda: made.open(elsewhere, Limits(connect=0.01)))
    assert str(answer) == "454 4.7.4 credentials are not sent to a host that is not verified"
    assert transcript.lines()[-1].endswith("credentials are not sent to a host that is not verified")


@contextlib.contextmanager
def _password_file(folder: Path, kind: str) -> Iterator[Path]:
    path = folder / "password"
    path.write_bytes(
        {"empty": b"", "lines": b"a\nb\n", "octets": b"\xff\n", "control": b"a\x1bb\n"}.get(kind, b"x\n")
    )
    path.chmod(0o644 if kind == "open" else 0o600)
    if kind in ("missing", "folder", "fifo"):
        path.unlink()
    if kind == "folder":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    if kind == "large":
        path.write_bytes(b"x" * 5000)
    yield path


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("missing", "No such file or directory"),
        ("open", "others may use it; its mode must end in 0, as 0640 or 0600 do"),
        ("folder", "not a regular file"),
        ("fifo", "not a regular file"),
        ("empty", "no password in it"),
        ("lines", "more than one line"),
        ("octets", "not UTF-8"),
        ("control", "control characters are in no password"),
        ("large", "longer than 4096 octets"),
    ],
)
def test_a_password_file_that_cannot_be_used_defers(tmp_path: Path, papers: Papers, kind: str, why: str) -> None:
    """Before any connection, with a line that names the file."""
    desk = Desk(tmp_path, papers)
    with _password_file(tmp_path, kind) as path:
        route = Route((NAME,), user="relay", password_file=path)
        answer = approach(desk.ways, MESSAGE, datetime.now(UTC), route, lambda _: Transcript())
    assert str(answer) == f"451 4.3.5 password_file {path}: {why}"
