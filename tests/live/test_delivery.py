"""The main job, from port to exchanger: real processes, a real DNS server, Postfix's programs at both ends."""

import re
import shutil
import smtplib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.postfix import available, sink, source
from tests.world.relay import Relay, relay
from tests.world.telnet import telnet

needs_postfix = pytest.mark.skipif(not available(), reason="Postfix's smtp-source and smtp-sink are missing")
needs_telnet = pytest.mark.skipif(shutil.which("telnet") is None, reason="telnet is missing")

ZONE = """
example.test. 60 IN MX 10 mx.example.test.
mx.example.test. 60 IN A 127.0.0.2
"""
TWO_EQUAL = """
example.test. 60 IN MX 10 near.example.test.
example.test. 60 IN MX 10 far.example.test.
near.example.test. 60 IN A 127.0.0.2
far.example.test. 60 IN A 127.0.0.3
"""
MAIL = """\
HELO client.example.org
MAIL FROM:<alice@example.org>
RCPT TO:<bob@example.test>
DATA
From: Alice <alice@example.org>
To: Bob <bob@example.test>
Subject: The first mail

Hello Bob,
this line was typed by hand.
.
QUIT
"""


@contextmanager
def delivering(zone: str, port: int, **sections: str) -> Iterator[Relay]:
    """A running relay whose DNS says `zone`, for exchangers on loopback at `port`."""
    sections["delivery"] = f"port = {port}\nprivate_exchangers = true\n" + sections.get("delivery", "")
    with (
        NameServer(zone) as names,
        relay(dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]', **sections) as running,
    ):
        running.start()
        yield running
        running.leave()


@needs_postfix
@needs_telnet
def test_the_first_mail_by_telnet_reaches_the_exchanger_that_dns_names(tmp_path: Path) -> None:
    """README's session, typed into telnet: it arrives byte for byte, below our Received, Date and Message-ID."""
    with sink(("127.0.0.2", 0), dump=tmp_path) as exchanger, delivering(ZONE, exchanger.address[1]) as running:
        heard = telnet("127.0.0.1", running.port, MAIL)
        exchanger.wait_for(1)
        running.wait_until_empty()
        codes = [line[:3] for line in heard if line[:3].isdigit()]
        assert codes == ["220", "250", "250", "250", "354", "250", "221"]
        (message,) = exchanger.dumped()
        assert (message.reverse_path, message.recipients) == ("<alice@example.org>", ("<bob@example.test>",))
        trace, _, rest = message.data.partition(b"From: ")
        assert trace.startswith(b"Received: from client.example.org ([127.0.0.1])\r\n\tby relay.example.org")
        names = re.findall(rb"^([A-Za-z-]+):", trace, re.MULTILINE)
        assert names == [b"Received", b"Date", b"Message-ID"]
        assert b"for <bob@example.test>;" in trace
        typed = MAIL.partition("DATA\n")[2].partition(".\nQUIT")[0].replace("\n", "\r\n").encode()
        assert b"From: " + rest == typed


@needs_postfix
def test_two_thousand_messages_over_twenty_sessions_arrive_once_each() -> None:
    """smtp-source to smtp-sink through the relay: 2000 of 2000, none twice, and the spool is empty after."""
    with sink(("127.0.0.2", 0)) as exchanger, delivering(ZONE, exchanger.address[1]) as running:
        sent = source("127.0.0.1", running.port, 20, 2000, 4096, "-f", "a@source.test", "-t", "b@example.test")
        assert sent.process.returncode == 0, sent.process.stderr
        exchanger.wait_for(2000)
        running.wait_until_empty()
        assert exchanger.count == 2000
        accepted = [event["id"] for event in running.wait_for_events("message.accepted", 2000)]
        delivered = Counter(event["id"] for event in running.wait_for_events("delivery.delivered", 2000))
        assert delivered == Counter(accepted)
        totals = running.report()["totals"]
        assert (totals["accepted"], totals["delivered"], totals["bugs"]) == (2000, 2000, 0)


def test_the_faster_of_two_equal_exchangers_gets_the_mail() -> None:
    """One greets 100 ms later: after a warm-up 95 % and more take the fast one, and the log says why."""
    port = free_port("127.0.0.2", "127.0.0.3")
    near = Exchanger("127.0.0.2", port)
    far = Exchanger("127.0.0.3", port, greeting_delay=0.1)
    with near, far, delivering(TWO_EQUAL, port) as running:
        send(running, 20)
        running.wait_for_events("delivery.delivered", 20)
        before = len(near.messages)
        for _ in range(10):
            send(running, 20)
        delivered = running.wait_for_events("delivery.delivered", 220)
        assert len(near.messages) - before >= 190
        reasons = [event["chosen"] for event in delivered if event["exchanger"] == "near.example.test"]
        assert any("near.example.test" in why and "far.example.test" in why and "ms" in why for why in reasons)

        near.stop()
        send(running, 20)
        running.wait_for_events("delivery.delivered", 240)
        running.wait_until_empty()
        assert len(near.messages) + len(far.messages) == 240


def test_the_better_preference_is_used_although_it_is_slower() -> None:
    """RFC 5321 section 5.1: preference 10 before 20, whatever the latency; 20 only when 10 is down."""
    port = free_port("127.0.0.2", "127.0.0.3")
    slow = Exchanger("127.0.0.2", port, greeting_delay=0.1)
    fast = Exchanger("127.0.0.3", port)
    zone = TWO_EQUAL.replace("MX 10 far", "MX 20 far")
    with slow, fast, delivering(zone, port) as running:
        send(running, 40)
        running.wait_for_events("delivery.delivered", 40)
        assert (len(slow.messages), len(fast.messages)) == (40, 0)
        slow.stop()
        send(running, 5)
        running.wait_for_events("delivery.delivered", 45)
        assert len(fast.messages) == 5


def test_a_message_waits_in_cur_while_its_exchanger_is_down_and_leaves_when_it_is_up() -> None:
    """The journal says what happened and when it is tried again; `queue list` and `queue show` say it too."""
    port = free_port("127.0.0.2")
    with (
        Exchanger("127.0.0.2", port) as exchanger,
        delivering(ZONE, port, delivery='retry = ["2s"]') as running,
    ):
        exchanger.stop()
        send(running, 1)
        running.wait_for_events("delivery.deferred")
        running.wait(lambda: bool(running.files("cur")), "message in cur/")
        (message,) = running.queue()
        assert (message["state"], message["attempts"]) == ("cur", 1)
        assert "refused" in message["last_reply"].lower()
        (journal,) = running.files("journal")
        text = journal.read_text()
        assert '"kind":"deferred"' in text
        assert '"kind":"scheduled"' in text
        shown = running.command("queue", "show", message["id"])
        assert shown.returncode == 0
        assert "refused" in shown.stdout.lower()
        assert "Subject: The first mail" in shown.stdout
        exchanger.start()
        exchanger.wait_for(1)
        running.wait_until_empty()


def test_what_fails_for_good_comes_back_as_a_notification() -> None:
    """RFC 5321 section 6.1: the reverse-path gets a report with the exchanger's own words, from <>."""
    zone = f"{ZONE}example.org. 60 IN MX 10 home.example.org.\nhome.example.org. 60 IN A 127.0.0.3"
    port = free_port("127.0.0.2", "127.0.0.3")
    refusing = Exchanger("127.0.0.2", port, replies={"RCPT": b"550 5.1.1 no such user here\r\n"})
    with refusing, Exchanger("127.0.0.3", port) as home, delivering(zone, port) as running:
        send(running, 1)
        (report,) = home.wait_for(1)
        running.wait_until_empty()
        assert report.reverse_path.startswith(b"MAIL FROM:<>")
        assert report.recipients == (b"RCPT TO:<alice@example.org>",)
        for expected in (b"multipart/report", b"no such user here", b"Subject: The first mail", b"Action: failed"):
            assert expected in report.data


def test_a_domain_that_does_not_exist_fails_at_once() -> None:
    """NXDOMAIN is permanent, 5.1.2; the notification to a reverse-path that does not exist ends there."""
    with delivering(ZONE, free_port("127.0.0.2")) as running:
        send(running, 1, recipient="bob@nowhere.test", reverse_path="alice@nowhere.test")
        running.wait_for_events("delivery.failed", 2)
        running.wait_until_empty()
        assert all("5.1.2" in event["reply"] for event in running.events("delivery.failed"))
        assert running.report()["totals"]["undeliverable"] == 1


def send(running: Relay, count: int, *, recipient: str = "bob@example.test", reverse_path: str = "") -> None:
    """Send so many messages in one session of Python's own client; commas part several recipients."""
    with smtplib.SMTP("127.0.0.1", running.port, "client.example.org", 30) as client:
        for _ in range(count):
            client.sendmail(
                reverse_path or "alice@example.org",
                recipient.split(","),
                "Subject: The first mail\r\n\r\nHello\r\n",
            )
