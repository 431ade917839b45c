"""Security: TLS on real sockets, and when mail may go in the clear after all."""

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.sections import TlsMode
from relayd.deliver.connection import Connection
from relayd.deliver.handshakes import MAKERS, Handshakes
from relayd.smtp.client import Finished, Order, SendContent
from tests.deliver.desk import MESSAGE, NAME, OLD, Desk, at, deliver, papers_of, server_of
from tests.deliver.peer import peer, saying
from tests.deliver.running import on_each_loop, run
from tests.world.authority import Papers
from tests.world.exchanger import EXTENSIONS, Exchanger
from tests.world.wire import Wire


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Of an exchanger."""
    return papers_of(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def tls(papers: Papers) -> ssl.SSLContext:
    """Of a server."""
    return server_of(papers)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_each_loop
def test_mail_goes_through_tls_where_it_is_offered(
    tmp_path: Path, papers: Papers, tls: ssl.SSLContext, loop: str, newest: ssl.TLSVersion
) -> None:
    """By default and with any certificate; megabytes too, and the version and cipher are known."""
    tls.maximum_version = newest
    mail_data = b"".join(b".%07d\r\n" % number for number in range(300_000))

    async def main() -> None:
        connection = await desk.reach(at(exchanger, "other.example.net"))
        assert isinstance(connection, Connection)
        assert connection.tls.startswith(newest.name.replace("_", ".") + " ")
        assert any(connection.tls in line for line in connection.transcript.lines())
        assert await deliver(connection, mail_data) == "250 2.0.0 Ok"

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main, loop)
        assert exchanger.messages[0].data == mail_data
        (session,) = exchanger.sessions
        assert session.lines[:3] == [b"EHLO relay.example.org", b"STARTTLS", b"EHLO relay.example.org"]
        assert session.tls


@on_each_loop
def test_mail_data_streams_through_tls_to_a_server_that_reads_slowly(
    tmp_path: Path, papers: Papers, tls: ssl.SSLContext, loop: str
) -> None:
    """What waits to be written is bounded there too; nothing of it is lost."""
    line = b"x" * 997 + b"\r\n"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield line * 50

    async def main() -> None:
        connection = await desk.reach(at(exchanger))
        assert isinstance(connection, Connection)
        connection.begin(Order("a@example.org", ("b@example.net",)))
        assert await connection.event() == SendContent()
        await connection.send_content(chunks())
        assert isinstance(await connection.event(), Finished)
        await connection.leave()

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main, loop)
        assert exchanger.messages[0].data == line * 10_000


@on_each_loop
def test_a_server_that_reads_nothing_in_tls_ends_the_transaction(
    tmp_path: Path, papers: Papers, tls: ssl.SSLContext, loop: str
) -> None:
    """In the time that the mail data has, as in the clear."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1_000_000

    async def main() -> None:
        connection = await desk.reach(at(exchanger))
        assert isinstance(connection, Connection)
        connection.begin(Order("a@example.org", ("b@example.net",)))
        assert await connection.event() == SendContent()
        await connection.send_content(endless())
        finished = await connection.event()
        assert isinstance(finished, Finished)
        assert str(finished.result.replies[0]) == "451 4.4.2 timeout while waiting for: mail data to send"
        assert finished.result.in_doubt == frozenset()

    desk = Desk(tmp_path, papers, CONTENT=0.1)
    with Exchanger(tls=tls, actions={"354": Wire.be_deaf}) as exchanger:
        run(main, loop)


def test_the_next_connection_goes_on_with_the_session(tmp_path: Path, papers: Papers, tls: ssl.SSLContext) -> None:
    """Which spares a handshake; of another strictness it does not."""

    async def main() -> None:
        resumed = []
        for route in (None, None, desk.route("verify"), desk.route("verify")):
            connection = await desk.reach(at(exchanger), route)
            assert isinstance(connection, Connection)
            assert connection.codec is not None
            resumed.append(connection.codec.was_resumed)
            await connection.leave()
        assert resumed == [False, True, False, True]

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main)


@pytest.mark.parametrize(
    ("mode", "name", "reason"),
    [
        ("verify", NAME, ""),
        ("verify", "127.0.0.1", ""),
        ("verify", "[127.0.0.1]", ""),
        ("verify", "other.example.net", "451 4.7.5 TLS: certificate verify failed: Hostname mismatch"),
        ("require", "other.example.net", ""),
        ("verify", "." + NAME, "451 4.7.5 TLS: no name of a server"),
        ("require", "." + NAME, ""),
    ],
)
def test_a_certificate_is_for_the_name_of_the_host_where_that_is_asked(
    tmp_path: Path, papers: Papers, tls: ssl.SSLContext, mode: TlsMode, name: str, reason: str
) -> None:
    """And of an authority that is trusted; a failure gives no connection in the clear, however old the mail is."""

    async def main() -> None:
        reached = await desk.reach(at(exchanger, name), desk.route(mode), OLD)
        if reason:
            assert str(reached).startswith(reason)
        else:
            await deliver(reached)

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main)
        assert exchanger.connections == 1
        assert len(exchanger.messages) == (not reason)


def test_an_authority_that_nobody_knows_is_not_trusted(
    tmp_path: Path, papers: Papers, tls: ssl.SSLContext
) -> None:
    """By the system's store, which has none of the tests."""

    async def main() -> None:
        desk.ways = replace(desk.ways, handshakes=Handshakes())
        assert str(await desk.reach(at(exchanger), desk.route("verify"))).startswith(
            "451 4.7.5 TLS: certificate verify failed: "
        )

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main)


def test_tls_that_is_off_is_not_begun(tmp_path: Path, papers: Papers, tls: ssl.SSLContext) -> None:
    """Though it is offered."""

    async def main() -> None:
        connection = await desk.reach(at(exchanger), desk.route("off"))
        assert isinstance(connection, Connection)
        assert connection.tls == ""
        await deliver(connection)

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main)
        assert exchanger.commands["STARTTLS"] == 0


# Handshakes that fail.


def _garbage(wire: Wire) -> None:
    wire.send(b"220 Go ahead\r\n")
    wire.read(1)
    wire.send(b"\x15\x03\x01\x00\x02\x02\x28")
    wire.wait()


def _injected(wire: Wire) -> None:
    wire.send(b"220 Go ahead\r\n250-mx\r\n250 AUTH PLAIN\r\n")
    wire.wait()


def _hung_up(wire: Wire) -> None:
    wire.send(b"220 Go ahead\r\n")
    wire.read(1)
    raise EOFError


def _stalled(wire: Wire) -> None:
    wire.send(b"220 Go ahead\r\n")
    wire.wait()


def _refused(wire: Wire) -> None:
    wire.send(b"454 4.7.0 TLS not available\r\n")


def _gone(wire: Wire) -> None:
    wire.send(b"421 4.3.0 I am off\r\n")
    raise EOFError


FAILURES: dict[str, tuple[Callable[[Wire], None], str]] = {
    "an alert": (_garbage, "451 4.7.5 TLS: "),
    "injected replies": (_injected, "451 4.7.5 protocol error: more in the clear"),
    "hung up": (_hung_up, "451 4.4.2 lost the connection while waiting for: TLS handshake"),
    "stalled": (_stalled, "451 4.4.2 timeout while waiting for: TLS handshake"),
    "refused": (_refused, "451 4.7.4 STARTTLS was offered and then refused: 454 4.7.0 TLS not available"),
    "421": (_gone, "421 4.3.0 I am off"),
}


@pytest.mark.parametrize("case", FAILURES)
@on_each_loop
def test_after_a_handshake_that_failed_old_mail_goes_in_the_clear(
    tmp_path: Path, papers: Papers, case: str, loop: str
) -> None:
    """On a new connection, with a line in the log; mail that has not waited does not."""
    action, reason = FAILURES[case]

    async def main() -> None:
        young = await desk.reach(at(exchanger), age=OLD - timedelta(seconds=60))
        assert str(young).startswith(reason)
        assert desk.events == []
        connection = await desk.reach(at(exchanger), age=OLD)
        assert isinstance(connection, Connection)
        assert (connection.is_fallback, connection.tls) == (True, "")
        await deliver(connection)
        (event,) = desk.events
        assert isinstance(event, events.DeliveryInClear)
        assert (event.id, event.exchanger, event.address) == (MESSAGE, NAME, str(at(exchanger)))
        assert event.reply.startswith(reason)

    desk = Desk(tmp_path, papers, TLS=0.1)
    with Exchanger(extensions=(*EXTENSIONS, b"STARTTLS"), actions={"STARTTLS": action}) as exchanger:
        run(main, loop)
        assert exchanger.commands["STARTTLS"] == 2
        assert [session.lines[:2] for session in exchanger.sessions][2][1].startswith(b"MAIL FROM")


@pytest.mark.parametrize("mode", ["require", "verify"])
def test_required_tls_that_fails_never_goes_in_the_clear(tmp_path: Path, papers: Papers, mode: TlsMode) -> None:
    """However old the mail is."""

    async def main() -> None:
        assert str(await desk.reach(at(exchanger), desk.route(mode), OLD)).startswith("451 4.7.5 TLS: ")

    desk = Desk(tmp_path, papers)
    with Exchanger(extensions=(b"STARTTLS",), actions={"STARTTLS": _garbage}) as exchanger:
        run(main)
        assert exchanger.connections == 1


@pytest.mark.parametrize("mode", ["require", "verify"])
def test_required_tls_that_is_not_offered_is_a_reply(tmp_path: Path, papers: Papers, mode: TlsMode) -> None:
    """The mail waits, and the exchanger is told QUIT."""

    async def main() -> None:
        assert str(await desk.reach(at(exchanger), desk.route(mode), OLD)).startswith("451 4.7.4 TLS is required")

    desk = Desk(tmp_path, papers)
    with Exchanger() as exchanger:
        run(main)
        assert exchanger.connections == 1


def test_an_exchanger_that_is_busy_gets_nothing_in_the_clear(tmp_path: Path, papers: Papers) -> None:
    """A refusal that has nothing to do with TLS is none of its failures."""

    async def main() -> None:
        assert str(await desk.reach(at(exchanger), age=OLD)) == "450 4.3.2 busy"

    desk = Desk(tmp_path, papers)
    with Exchanger(extensions=(b"STARTTLS",), replies={"EHLO": b"450 4.3.2 busy\r\n"}) as exchanger:
        run(main)
        assert exchanger.connections == 1


def test_a_server_that_refuses_us_behind_the_handshake_has_failed_it(
    tmp_path: Path, papers: Papers, tls: ssl.SSLContext
) -> None:
    """TLS 1.3 lets us be done first: one that wants a certificate of ours says so afterwards."""
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(papers.authority)

    async def main() -> None:
        connection = await desk.reach(at(exchanger), age=OLD)
        assert isinstance(connection, Connection)
        assert connection.is_fallback
        await deliver(connection)

    desk = Desk(tmp_path, papers)
    with Exchanger(tls=tls) as exchanger:
        run(main)


def test_a_certificate_too_weak_for_our_taste_is_better_than_none(tmp_path: Path, papers: Papers) -> None:
    """Opportunistic TLS takes old keys and digests, required TLS does not."""
    assert MAKERS["opportunistic"]().security_level == 0
    assert MAKERS["require"]().security_level > 0


@pytest.mark.parametrize("mode", MAKERS)
def test_older_versions_than_1_2_are_not_spoken(mode: TlsMode) -> None:
    """RFC 8996."""
    assert MAKERS[mode]().minimum_version == ssl.TLSVersion.TLSv1_2


# Where a connection comes from.


def test_a_connection_comes_from_one_of_the_sources_of_its_family(tmp_path: Path, papers: Papers) -> None:
    """From each of several in turn, as the dice fall; a family without one is left to the kernel."""

    async def main() -> None:
        for _ in range(20):
            connection = await desk.reach(at(exchanger))
            assert isinstance(connection, Connection)
            await connection.leave()

    desk = Desk(tmp_path, papers, 'source = ["127.0.0.8", "127.0.0.9", "::1"]')
    with Exchanger() as exchanger:
        run(main)
        assert {each.peer[0] for each in exchanger.sessions} == {"127.0.0.8", "127.0.0.9"}


def test_what_a_server_says_in_tls_before_we_did_is_out_of_step(tmp_path: Path, papers: Papers) -> None:
    """The reply to an EHLO that nobody has said yet answers nothing."""

    async def main() -> None:
        async with peer(saying(b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n220 b\r\n")) as to:
            assert str(await desk.reach(to)).startswith("451 4.5.0 protocol error: a reply to nothing: 220 b")

    desk = Desk(tmp_path, papers)
    run(main)
