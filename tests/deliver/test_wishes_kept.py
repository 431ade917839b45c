"""What clients ask for, through the delivery process as a whole: word of success, silence, names beyond ASCII."""

import email
import errno
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.config import Config
from relayd.spool.disk import Disk
from relayd.spool.envelope import Recipient
from relayd.spool.outcome import Kind, Notified, Outcome
from tests.deliver.process import configuration, delivery
from tests.deliver.running import run
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port

ZONE = """
example.net. 60 IN MX 10 mx.example.net.
xn--bcher-kva.example. 60 IN MX 10 mx.example.net.
mx.example.net. 60 IN A 127.0.0.2
example.org. 60 IN MX 10 mx.example.org.
mx.example.org. 60 IN A 127.0.0.4
"""
SUCCESS = Recipient("bob@example.net", notify="SUCCESS,FAILURE", orcpt="rfc822;Bob@example.net")


class Net:
    """The recipients' exchanger and the originators', which is where notifications go."""

    def __init__(self, folder: Path, names: NameServer, port: int) -> None:
        self.config: Config = configuration(folder, names.address, port)
        self.theirs, self.ours = Exchanger("127.0.0.2", port), Exchanger("127.0.0.4", port)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """All of it, up and running."""
    with NameServer(ZONE) as names:
        made = Net(tmp_path, names, free_port("127.0.0.2", "127.0.0.4"))
        with made.theirs, made.ours:
            yield made


def reported(exchanger: Exchanger) -> list[Message]:
    """The groups of fields of the only notification there is."""
    (message,) = exchanger.messages
    assert message.reverse_path.startswith(b"MAIL FROM:<>")
    (status,) = (
        part
        for part in email.message_from_bytes(message.data).walk()
        if part.get_content_type() == "message/delivery-status"
    )
    groups = status.get_payload()
    assert isinstance(groups, list)
    return [group for group in groups if isinstance(group, Message)]


def test_word_of_success_comes_from_us_where_the_exchanger_gives_none(net: Net) -> None:
    """RFC 3461 section 5.2.2; once, and nothing stays of the message."""

    async def main() -> None:
        async with delivery(net.config) as running:
            running.submit(SUCCESS, envid="QQ314159")
            await running.log.has(events.DeliveryDelivered, 2)
            await running.retire()
            assert [running.names(folder) for folder in ("tmp", "new", "cur", "journal")] == [[], [], [], []]
            assert (running.slot.get("delivered"), running.slot.get("notifications")) == (2, 1)
            assert running.slot.get("failed") == 0

    run(main)
    about, bob = reported(net.ours)
    assert about["Original-Envelope-Id"] == "QQ314159"
    assert (bob["Action"], bob["Status"]) == ("relayed", "2.0.0")
    assert bob["Original-Recipient"] == "rfc822; Bob@example.net"


def test_word_of_success_comes_from_the_exchanger_that_gives_it(net: Net) -> None:
    """And not from us too; the message leaves no journal behind on its way."""
    net.theirs.extensions = (b"PIPELINING", b"DSN")
    written: list[str] = []

    class Watched(Disk):
        def create(self, path: str) -> int:
            written.append(Path(path).parent.name)
            return super().create(path)

    async def main() -> None:
        async with delivery(net.config, disk=Watched()) as running:
            running.submit(SUCCESS)
            await running.log.has(events.DeliveryDelivered)
            await running.retire()

    run(main)
    assert net.theirs.messages[0].recipients == (
        b"RCPT TO:<bob@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@example.net",
    )
    assert net.ours.messages == []
    assert "journal" not in written


def test_a_process_that_died_before_word_of_success_gives_it_at_its_next_start(net: Net) -> None:
    """It is owed by the journal, and the recipient gets no second copy."""

    class Dies(Disk):
        def create(self, path: str) -> int:
            if Path(path).parent.name == "tmp" and net.theirs.messages:
                raise OSError(errno.EIO, "no notification today")
            return super().create(path)

    async def dying() -> None:
        async with delivery(net.config, disk=Dies(), trouble=3600.0) as running:
            name = running.submit(SUCCESS)
            await running.log.has(events.SpoolTrouble)
            entries = running.journal(name)
            assert [each.kind for each in entries if isinstance(each, Outcome)] == [Kind.RELAYED]
            assert not any(isinstance(each, Notified) for each in entries)

    async def after() -> None:
        async with delivery(net.config) as running:
            await running.log.has(events.DeliveryDelivered)
            await running.retire()
            assert running.names("journal") == []

    run(dying)
    run(after)
    assert len(net.theirs.messages) == 1
    (_, bob) = reported(net.ours)
    assert bob["Action"] == "relayed"


def test_who_wants_to_hear_nothing_is_told_nothing(net: Net) -> None:
    """NOTIFY=NEVER: the failure is in the log."""
    net.theirs.replies = {"RCPT": b"550 5.1.1 no such user\r\n"}

    async def main() -> None:
        async with delivery(net.config) as running:
            running.submit(Recipient("bob@example.net", notify="NEVER"))
            await running.log.has(events.DsnOmitted)
            await running.retire()
            assert [running.names(folder) for folder in ("new", "cur", "journal")] == [[], [], []]

    run(main)
    assert net.ours.messages == []


def test_a_domain_beyond_ascii_is_found_in_dns(net: Net) -> None:
    """By its A-labels; in the command it is as the client wrote it."""
    net.theirs.extensions = (b"8BITMIME", b"SMTPUTF8")

    async def main() -> None:
        async with delivery(net.config) as running:
            running.submit("j\u00fcrgen@b\u00fccher.example", smtputf8=True)
            await running.log.has(events.DeliveryDelivered)

    run(main)
    assert net.theirs.messages[0].recipients == ("RCPT TO:<j\u00fcrgen@b\u00fccher.example>".encode(),)


def test_an_exchanger_without_smtputf8_has_the_mail_for_whom_it_can(net: Net) -> None:
    """One recipient is beyond ASCII, and fails alone."""

    async def main() -> None:
        async with delivery(net.config) as running:
            running.submit("j\u00fcrgen@example.net", "bob@example.net", smtputf8=True)
            await running.log.has(events.DeliveryDelivered, 2)

    run(main)
    assert net.theirs.messages[0].recipients == (b"RCPT TO:<bob@example.net>",)
    (_, failed) = reported(net.ours)
    assert (failed["Final-Recipient"], failed["Status"]) == ("utf-8; j\\x{FC}rgen@example.net", "5.6.7")


def test_an_originator_beyond_ascii_hears_by_smtputf8(net: Net) -> None:
    """RFC 6533; and by RET=FULL has the message back."""
    net.ours.extensions = (b"8BITMIME", b"SMTPUTF8")

    async def main() -> None:
        async with delivery(net.config) as running:
            running.submit(
                "j\u00fcrgen@example.net",
                reverse_path="\u00e4@example.org",
                mail="Subject: \u00fc\r\n\r\n\u90f5\r\n".encode(),
                smtputf8=True,
                ret="FULL",
            )
            await running.log.has(events.DeliveryDelivered)

    run(main)
    (message,) = net.ours.messages
    assert message.reverse_path.endswith(b" BODY=8BITMIME SMTPUTF8")
    assert message.recipients == ("RCPT TO:<\u00e4@example.org>".encode(),)
    assert b"\r\nStatus: 5.6.7\r\n" in message.data
    assert b"\r\nDiagnostic-Code: X-relayd; 550 5.6.7 " in message.data
    assert b"\r\nRemote-MTA: " not in message.data
    assert "\r\n\r\nSubject: \u00fc\r\n\r\n\u90f5\r\n".encode() in message.data
