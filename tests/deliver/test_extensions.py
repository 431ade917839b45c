"""Extensions of exchangers: what mail asks of them, and what becomes of it where they lack one."""

import errno
from pathlib import Path

import pytest

from relayd.base import events
from relayd.spool.outcome import Kind
from tests.deliver.making import ID, asking, job, parcel
from tests.deliver.running import run
from tests.deliver.town import FIRST, SECOND, TWO_TIERS, carried, letters, surroundings


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("body", ["8BITMIME", "7BIT", None])
def test_8_bit_mail_needs_an_exchanger_that_takes_it(tmp_path: Path, in_memory: bool, body: str | None) -> None:
    """RFC 6152 section 3, however it was declared; what turns out to be 7-bit goes anywhere."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        town.spool.keeps_in_memory = in_memory
        town.spool.mail = {"8bit": [b"text\r\n", b"Gr\xc3\xbc\xc3\x9fe\r\n"], "7bit": [b"text\r\n"]}
        await carried(town, [parcel(job(message_id=each, body=body)) for each in ("8bit", "7bit")])
        assert town.kinds() == {Kind.FAILED: 1, Kind.DELIVERED: 1}
        assert town.replies()[0].startswith("554 5.6.3 ")

    with surroundings(tmp_path) as around:
        around.exchangers[0].extensions = (b"PIPELINING",)
        run(main)
        assert around.exchangers[0].connections == 1
        assert around.exchangers[0].commands["MAIL"] == 1


def test_an_operator_may_have_8_bit_mail_sent_anyway(tmp_path: Path) -> None:
    """delivery.eight_bit = "send": as it is, without BODY."""

    async def main() -> None:
        town = around.town('eight_bit = "send"', idle=0.01)
        town.spool.mail[ID] = [b"Gr\xc3\xbc\xc3\x9fe\r\n"]
        await carried(town, [parcel(job(body="8BITMIME"))])

    with surroundings(tmp_path) as around:
        around.exchangers[0].extensions = ()
        run(main)
        (message,) = around.exchangers[0].messages
        assert (message.data, message.reverse_path) == (
            b"Gr\xc3\xbc\xc3\x9fe\r\n",
            b"MAIL FROM:<alice@example.org>",
        )


def test_no_other_exchanger_is_asked_to_take_8_bit_mail(tmp_path: Path) -> None:
    """The failure is the message's, not the connection's."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.spool.mail[ID] = [b"\xff\r\n"]
        await carried(town, [parcel(job())])
        assert town.kinds() == {Kind.FAILED: 1}

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].extensions = ()
        run(main)
        assert around.exchangers[1].connections == 0


def test_mail_that_cannot_be_looked_at_does_not_go(tmp_path: Path) -> None:
    """It may have 8-bit octets: it is deferred, and not sent blindly."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.spool.mail[ID] = [b"text\r\n", OSError(errno.EIO, "EIO")]
        await carried(town, [parcel(job())])
        assert town.kinds() == {Kind.DEFERRED: 1}
        assert len(town.named(events.SpoolTrouble)) == 1

    with surroundings(tmp_path) as around:
        around.exchangers[0].extensions = ()
        run(main)
        assert around.exchangers[0].commands["MAIL"] == 0


def test_mail_beyond_ascii_goes_where_smtputf8_is_offered(tmp_path: Path) -> None:
    """RFC 6531 section 3.4: the parameter, and addresses in UTF-8."""

    async def main() -> None:
        town = around.town(idle=0.01)
        made = asking(
            job("j\u00fcrgen@example.net", reverse_path="\u00e4@example.org", body="8BITMIME"), smtputf8=True
        )
        await carried(town, [parcel(made)])
        assert town.kinds() == {Kind.DELIVERED: 1}

    with surroundings(tmp_path) as around:
        around.exchangers[0].extensions = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8")
        run(main)
        (message,) = around.exchangers[0].messages
        assert message.reverse_path == "MAIL FROM:<\u00e4@example.org> BODY=8BITMIME SMTPUTF8".encode()
        assert message.recipients == ("RCPT TO:<j\u00fcrgen@example.net>".encode(),)


def test_mail_beyond_ascii_is_never_downgraded(tmp_path: Path) -> None:
    """Where SMTPUTF8 is not offered: an address or a header fails, mail that was only declared so goes."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        town.spool.mail = {"header": [b"Subject: \xc3\xbc\r\n\r\n"], "body": [b"Subject: u\r\n\r\n\xc3\xbc\r\n"]}
        mail = [
            job("\u00e4@example.net", message_id="recipient"),
            job(reverse_path="\u00e4@example.org", message_id="originator"),
            job(message_id="header"),
            job(message_id="body"),
        ]
        await carried(town, [parcel(asking(each, smtputf8=True)) for each in mail])
        assert [str(found[0].kind) for _, found, _ in town.reports] == ["failed", "failed", "failed", "delivered"]
        assert all(each.startswith("550 5.6.7 ") for each in town.replies()[:3])

    with surroundings(tmp_path) as around:
        run(main)
        (message,) = around.exchangers[0].messages
        assert message.reverse_path == b"MAIL FROM:<alice@example.org> SIZE=100"


@pytest.mark.parametrize("address", ["a> SIZE=1 <b@example.net", "a\u200e@example.net"])
def test_an_address_that_somebody_edited_out_of_its_brackets_fails_alone(tmp_path: Path, address: str) -> None:
    """It is in no command, the connection goes on, and it is no bug."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, [parcel(job(address)), *letters(1)])
        assert town.kinds() == {Kind.FAILED: 1, Kind.DELIVERED: 1}
        assert town.replies()[0].startswith("554 5.6.0 not a path: ")
        assert town.bugs == []

    with surroundings(tmp_path) as around:
        run(main)
        assert around.exchangers[0].connections == 1


@pytest.mark.parametrize(("extension", "kind"), [(b"DSN", Kind.DELIVERED), (b"HELP", Kind.RELAYED)])
def test_success_is_told_by_the_exchanger_where_it_can(tmp_path: Path, extension: bytes, kind: Kind) -> None:
    """RFC 3461 section 5.2: the wishes go along with the mail, or are ours to fulfil."""

    async def main() -> None:
        town = around.town(idle=0.01)
        made = asking(job("bob@example.net"), "SUCCESS,FAILURE", ret="HDRS", envid="x+2By")
        await carried(town, [parcel(made)])
        assert town.kinds() == {kind: 1}

    with surroundings(tmp_path) as around:
        around.exchangers[0].extensions = (b"PIPELINING", b"8BITMIME", extension)
        run(main)
        (message,) = around.exchangers[0].messages
        is_passed_on = extension == b"DSN"
        assert message.reverse_path.endswith(b" RET=HDRS ENVID=x+2By") == is_passed_on
        assert message.recipients[0].endswith(b" NOTIFY=SUCCESS,FAILURE") == is_passed_on
        assert is_passed_on or b"NOTIFY" not in message.recipients[0]


def test_8_bit_mail_goes_where_8bitmime_is_offered(tmp_path: Path) -> None:
    """Octet for octet, with BODY."""

    async def main() -> None:
        town = around.town(idle=0.01)
        town.spool.mail[ID] = [b"Gr\xc3\xbc\xc3\x9fe\r\n"]
        await carried(town, [parcel(job(body="8BITMIME"))])

    with surroundings(tmp_path) as around:
        run(main)
        (message,) = around.exchangers[0].messages
        assert message.data == b"Gr\xc3\xbc\xc3\x9fe\r\n"
        assert message.reverse_path.endswith(b" BODY=8BITMIME")
