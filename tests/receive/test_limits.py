"""Limits and fields as a session meets them: early talk, the door, the guard, the envelope, chunks."""

import asyncio
import errno
import socket
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from relayd.receive.connection import Connection
from relayd.receive.early import spoke_early
from relayd.spool.envelope import Envelope, head_end, unpack
from relayd.spool.intake import LARGE
from tests.receive.house import BEGINNING, House, Transport, later
from tests.receive.live import Live, mail_of

STRANGER = ("198.51.100.7", 40_000)


def play(
    folder: Path,
    scene: Callable[[House], Coroutine[None, None, None]],
    settings: str = "",
    memory: Callable[[], float] = lambda: 1.0,
) -> None:
    """A scene in a house with these settings."""

    async def main() -> None:
        house = House(folder, settings=settings, memory=memory)
        await scene(house)
        house.end()

    asyncio.run(main())


def turned_away(house: House, transport: Transport) -> str:
    """What a client hears that does not get in."""
    connection = Connection(house.worker, house.post.config.listeners[0])
    connection.connection_made(transport)
    (line,) = transport.replies()
    assert transport.is_closed
    connection.connection_lost(None)
    return line


def envelope(house: House) -> Envelope:
    """Of the only message."""
    (name,) = house.files("new")
    content = (house.spool / "new" / name).read_bytes()
    return unpack(content[: head_end(content)])


def test_who_speaks_before_the_greeting_is_closed(worker: Live) -> None:
    """The octets are there before the worker accepts; nothing of them is executed."""
    octets = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n"
    # More than one, since the worker may have been quicker than the client.
    heard = []
    for _ in range(50):
        with worker.client(greeted=False) as client:
            client.says(octets)
            heard.append(client.hears())
        if heard[-1].startswith("554 5.5.0 "):
            return
    pytest.fail(f"it was always quicker: {set(heard)}")


def test_octets_that_wait_are_seen_and_stay() -> None:
    """A socket without any has none."""
    ours, theirs = socket.socketpair()
    transport = asyncio.Transport({"socket": ours})
    assert not spoke_early(transport)
    theirs.send(b"EHLO c\r\n")
    assert spoke_early(transport)
    assert ours.recv(100) == b"EHLO c\r\n"
    ours.close()
    theirs.close()
    assert not spoke_early(transport)
    assert not spoke_early(asyncio.Transport())


def test_a_client_has_so_many_sessions_and_others_get_in(tmp_path: Path) -> None:
    """One more when one of them is over."""

    async def scene(house: House) -> None:
        first = house.connection(Transport())
        house.connection(Transport())
        assert turned_away(house, Transport()).startswith("421 4.7.0 ")
        house.connection(Transport(STRANGER))
        first.connection_lost(None)
        house.connection(Transport())
        (refused,) = house.events("session.refused")
        assert refused["client"] == "[127.0.0.1]:40000"

    play(tmp_path, scene, "[session]\nper_client = 2")


def test_when_memory_is_short_those_inside_go_on(tmp_path: Path) -> None:
    """New ones are told to come later."""

    async def scene(house: House) -> None:
        transport = Transport()
        connection = house.connection(transport)
        house.worker._sweep()
        assert turned_away(house, Transport(STRANGER)).startswith("421 4.3.2 ")
        connection.data_received(b"NOOP\r\n")
        assert transport.replies() == ["250 2.0.0 Ok"]
        connection.connection_lost(None)

    play(tmp_path, scene, memory=lambda: 0.001)


def test_deadlines_are_looked_at_where_the_memory_cannot_be(tmp_path: Path) -> None:
    """Without a descriptor left, say: just then sessions have to end in time."""

    def memory() -> float:
        raise OSError(errno.EMFILE, "Too many open files")

    async def scene(house: House) -> None:
        transport = Transport()
        connection = house.connection(transport)
        connection._heard -= 301
        house.worker._sweep()
        assert transport.replies() == ["421 4.4.2 relay.example.org Error: timeout exceeded"]
        connection.connection_lost(None)
        house.connection(Transport()).connection_lost(None)

    play(tmp_path, scene, memory=memory)


def test_an_application_that_runs_away_is_put_off(tmp_path: Path) -> None:
    """450 with the reason, one line in the log, and the session goes on."""

    async def scene(house: House) -> None:
        transport = Transport()
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        transport.replies()
        connection.data_received(b"Hi\r\n.\r\n")
        assert (await transport.next_replies())[0].startswith("250 ")
        connection.data_received(b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\n")
        assert [line[:9] for line in transport.replies()] == ["250 2.1.0", "250 2.1.5", "450 4.7.1"]
        connection.data_received(b"DATA\r\n")
        transport.replies()
        connection.data_received(b"Hi\r\n.\r\n")
        await transport.next_replies()
        connection.data_received(b"MAIL FROM:<>\r\nMAIL FROM:<>\r\nNOOP\r\n")
        assert [line[:9] for line in transport.replies()] == ["450 4.7.1", "450 4.7.1", "250 2.0.0"]
        assert len(house.events("client.limited")) == 1
        assert house.post.slot.get("limited") == 3
        assert house.tally.hand(1).in_hour(b"\x7f\0\0\1", asyncio.get_running_loop().time()) == (2, 2)
        connection.connection_lost(None)

    play(tmp_path, scene, "[relay]\nmessages_per_hour = 2\nrecipients_per_hour = 2")


def test_what_the_client_says_of_notifications_is_kept(tmp_path: Path) -> None:
    """RFC 3461: NOTIFY, ORCPT, RET and ENVID, as they came."""

    async def scene(house: House) -> None:
        transport = Transport()
        connection = house.connection(transport)
        connection.data_received(
            b"EHLO c\r\nMAIL FROM:<a@example.com> RET=HDRS ENVID=QQ+2B1 BODY=8BITMIME\r\n"
            b"RCPT TO:<b@example.net> NOTIFY=success,FAILURE ORCPT=rfc822;b+40x\r\n"
            b"RCPT TO:<c@example.net>\r\nDATA\r\n"
        )
        assert transport.replies()[-1].startswith("354 ")
        connection.data_received(b"Hi\r\n.\r\n")
        await transport.next_replies()
        found = envelope(house)
        assert (found.ret, found.envid, found.body) == ("HDRS", "QQ+2B1", "8BITMIME")
        first, second = found.recipients
        assert (first.notify, first.orcpt) == ("SUCCESS,FAILURE", "rfc822;b+40x")
        assert (second.notify, second.orcpt) == (None, None)
        assert not found.smtputf8
        assert found.user == ""
        connection.connection_lost(None)

    play(tmp_path, scene)


def test_a_mailbox_beyond_ascii_arrives(tmp_path: Path) -> None:
    """RFC 6531: in the envelope, and in the trace line with its keyword."""

    async def scene(house: House) -> None:
        transport = Transport()
        connection = house.connection(transport)
        connection.data_received(
            "EHLO c\r\nMAIL FROM:<j\u00fcrgen@example.com> SMTPUTF8\r\n".encode(),
        )
        connection.data_received("RCPT TO:<\u00fc@example.net>\r\nDATA\r\n".encode())
        assert transport.replies()[-1].startswith("354 ")
        connection.data_received(b"Hi\r\n.\r\n")
        await transport.next_replies()
        found = envelope(house)
        assert found.smtputf8
        assert found.reverse_path == "j\u00fcrgen@example.com"
        trace, _ = mail_of(house.spool / "new" / house.files("new")[0])
        assert b" with UTF8SMTP id " in trace
        assert "for <\u00fc@example.net>".encode() in trace
        connection.connection_lost(None)

    play(tmp_path, scene)


@pytest.mark.parametrize(("peer", "added"), [(("127.0.0.1", 1), True), (STRANGER, False)])
def test_only_for_clients_that_may_relay_the_header_is_completed(
    tmp_path: Path, peer: tuple[str, int], added: bool
) -> None:
    """RFC 6409 section 8; what strangers send to postmaster stays as it is."""

    async def scene(house: House) -> None:
        transport = Transport(peer)
        connection = house.connection(transport)
        connection.data_received(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n")
        transport.replies()
        connection.data_received(b"Subject: x\r\n\r\nHi\r\n.\r\n")
        await transport.next_replies()
        (name,) = house.files("new")
        content = (house.spool / "new" / name).read_bytes()
        identity = name.partition(",")[0].encode()
        assert (b"\r\nMessage-ID: <" + identity + b"@relay.example.org>\r\nSubject: x\r\n" in content) is added
        assert (b"\r\nDate: " in content) is added
        assert house.events("message.accepted")[0]["size"] == len(b"Subject: x\r\n\r\nHi\r\n")
        connection.connection_lost(None)

    play(tmp_path, scene)


def test_a_stranger_reaches_postmaster_once_and_hears_nothing_of_success(tmp_path: Path) -> None:
    """However often it names it: copies and notifications would go to whomever it says it is."""

    async def scene(house: House) -> None:
        transport = Transport(STRANGER)
        connection = house.connection(transport)
        connection.data_received(
            b"EHLO c\r\nMAIL FROM:<victim@example.org>\r\n"
            b"RCPT TO:<postmaster> NOTIFY=SUCCESS\r\nRCPT TO:<Postmaster>\r\nDATA\r\n"
        )
        assert transport.replies().count("250 2.1.5 Ok") == 2
        connection.data_received(b"Hi\r\n.\r\n")
        await transport.next_replies()
        (name,) = house.files("new")
        content = (house.spool / "new" / name).read_bytes()
        envelope = unpack(content[: head_end(content)])
        assert [(each.address, each.notify) for each in envelope.recipients] == [("ops@example.org", None)]
        connection.connection_lost(None)

    play(tmp_path, scene)


def test_chunks_that_are_given_up_leave_nothing(tmp_path: Path) -> None:
    """RSET between two of them: neither a file nor a part of the next message."""

    async def scene(house: House) -> None:
        transport = Transport()
        connection = house.connection(transport)
        opening = b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n"
        connection.data_received(b"EHLO c\r\n" + opening + b"BDAT %d\r\n" % (LARGE + 1) + b"x" * (LARGE + 1))
        async with asyncio.timeout(10):
            while connection.is_busy:
                await asyncio.sleep(0)
        assert len(house.files("tmp")) == 1
        connection.data_received(b"RSET\r\n")
        assert house.files("tmp") == []
        transport.replies()
        connection.data_received(opening + b"BDAT 4\r\nHi\r\nBDAT 0 LAST\r\n")
        async with asyncio.timeout(10):
            while not house.files("new"):
                await transport.next_replies()
        assert mail_of(house.spool / "new" / house.files("new")[0])[1] == b"Hi\r\n"
        connection.connection_lost(None)

    play(tmp_path, scene)


def test_mail_data_in_tiny_chunks_takes_no_more_memory_than_large_ones(tmp_path: Path) -> None:
    """An object of its own for each would be twenty times what the memory of all drafts is counted as."""

    async def scene(house: House) -> None:
        transport = Transport(STRANGER)
        connection = house.connection(transport)
        connection.data_received(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n")
        tracemalloc.start()
        for _ in range(4):
            connection.data_received(b"BDAT 2\r\nab" * 5000)
            transport.taken()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert used < 200_000
        connection.connection_lost(None)

    play(tmp_path, scene)


def test_a_stranger_whose_data_dribbles_is_cut_off_sooner(tmp_path: Path) -> None:
    """500 octets a second after a minute; what is refused already counts as well."""

    async def scene(house: House) -> None:
        transport = Transport(STRANGER)
        connection = house.connection(transport)
        connection.data_received(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n")
        connection.data_received(b"bare\n" + b"x" * 20_000)
        transport.replies()
        connection.sweep(later(99), 300.0)
        assert not transport.is_closing()
        connection.sweep(later(102), 300.0)
        assert transport.replies()[-1].startswith("421 4.4.2 ")
        connection.connection_lost(None)

    play(tmp_path, scene, '[relay]\npostmaster = "ops@example.org"\n[session]\nbare_newline = "reject"')
