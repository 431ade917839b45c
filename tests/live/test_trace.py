"""One message's whole life: by `grep ID` in the log, and by `relayd trace`, while it lasts and after it."""

import gzip
import json
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relayd.base.line import read
from tests.live.test_delivery import ZONE, send
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import Relay, relay
from tests.world.service import NAME, PASSWORD, service

HOME = f"{ZONE}example.org. 60 IN MX 10 home.example.org.\nhome.example.org. 60 IN A 127.0.0.3"
REFUSES = b"550 5.1.1 \x1b[2Jno such user\xff\r\n"


@contextmanager
def eventful(format: str) -> Iterator[tuple[Relay, Exchanger, Exchanger]]:
    """A running relay with a log of this format, an exchanger that is down, and the sender's own."""
    port = free_port("127.0.0.2", "127.0.0.3")
    with (
        Exchanger("127.0.0.2", port) as exchanger,
        Exchanger("127.0.0.3", port) as home,
        NameServer(HOME) as names,
        relay(
            delivery=f'port = {port}\nprivate_exchangers = true\nretry = ["1h"]',
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
        ) as running,
    ):
        running.config.write_text(running.config.read_text().replace('format = "json"', f'format = "{format}"'))
        exchanger.stop()
        running.start()
        yield running, exchanger, home


def grep(running: Relay, message_id: str, words: str) -> bool:
    """Whether a line of the log has the ID and the words."""
    return any(message_id in line and words in line for line in running.log_text().splitlines())


def live_through(running: Relay, exchanger: Exchanger, home: Exchanger) -> str:
    """Deferred, held, moved by hand, refused for one recipient and delivered to the other; the message's ID."""
    send(running, 1, recipient="bob@example.test,carol@example.test")
    running.wait(lambda: bool(running.files("cur")), "message in cur/")
    (item,) = running.queue()
    message_id = str(item["id"])
    assert running.command("queue", "hold", message_id).returncode == 0
    running.wait(lambda: grep(running, message_id, "queue.moved"), "the move to hold/")
    exchanger.replies["RCPT"] = lambda session, line: REFUSES if b"carol" in line else None
    exchanger.start()
    # As a person does it who knows nothing of commands.
    (file,) = running.files("hold")
    file.rename(running.spool / "new" / file.name)
    home.wait_for(1)
    running.wait_until_empty()
    return message_id


@pytest.mark.parametrize("format", ["text", "json"])
def test_grep_and_trace_tell_the_whole_life_of_a_message(format: str) -> None:
    """In both formats; trace also when all is over: no relay, no message, the log rotated and packed."""
    with eventful(format) as (running, exchanger, home):
        message_id = live_through(running, exchanger, home)
        life = [
            ("message.accepted", "session"),
            ("delivery.attempted", "refused"),
            ("delivery.deferred", "attempt"),
            ("queue.moved", "hold"),
            ("queue.moved", "new"),
            ("delivery.delivered", "<bob@example.test>"),
            ("delivery.failed", "<carol@example.test>"),
            ("dsn.queued", "<alice@example.org>"),
        ]
        for event, word in life:
            assert any(
                message_id in line and event in line and word in line for line in running.log_text().splitlines()
            ), event
        said = [found for line in running.log_text().splitlines() if (found := read(line)) is not None]
        outcomes = (
            "message.accepted",
            "delivery.attempted",
            "delivery.deferred",
            "delivery.delivered",
            "delivery.failed",
            "dsn.queued",
        )
        about = [each for each in said if each.event in outcomes and message_id in each.fields.values()]
        assert len(about) == len(outcomes)
        assert len({each.fields["session"] for each in about}) == 1
        during = running.command("trace", message_id)
        assert (during.returncode, during.stderr) == (0, "")
        running.stop()
        (running.spool / "relayd.log.1.gz").write_bytes(gzip.compress(running.log_file.read_bytes()))
        running.log_file.unlink()
        after = running.command("trace", message_id)
        assert (after.returncode, after.stderr, after.stdout) == (0, "", during.stdout)
        first, _, *lines = after.stdout.splitlines()
        assert first == f"{message_id}  done: 1 delivered, 1 failed"
        assert all(line.isprintable() for line in lines)
        told = json.loads(running.command("trace", message_id, "--json").stdout)
        names = [each["event"] for each in told["events"]]
        # The session may end before or after the first attempt, and who of the two recipients is told of first.
        assert sorted(names) == sorted(["session.opened", "session.closed", *(event for event, _ in life)])
        assert names[:2] == ["session.opened", "message.accepted"]
        assert [each["at"] for each in told["events"]] == sorted(each["at"] for each in told["events"])
        (notice,) = [each["fields"]["id"] for each in told["events"] if each["event"] == "dsn.queued"]
        its_own = running.command("trace", notice)
        assert its_own.returncode == 0
        assert f"about={message_id}" in its_own.stdout
        assert "delivery.delivered" in its_own.stdout


def test_who_sent_it_and_how_is_on_the_line_of_the_message() -> None:
    """Client, session, user and TLS: nobody has to look for the session's own lines; trace has those too."""
    with service() as served:
        context = ssl.create_default_context(cafile=str(served.papers.authority))
        with smtplib.SMTP("localhost", served.submission, "client.example.org") as client:
            client.starttls(context=context)
            client.login(NAME, PASSWORD)
            client.sendmail("alice@example.org", ["bob@example.test"], "Subject: hush\r\n\r\nhush\r\n")
        served.delivered()
        (accepted,) = served.running.wait_for_events("message.accepted")
        served.running.wait_for_events("delivery.delivered")
        assert accepted["user"] == NAME
        assert accepted["protocol"] == "ESMTPSA"
        assert accepted["client"].startswith("[127.0.0.1]:") or accepted["client"].startswith("[::1]:")
        told = served.running.command("trace", accepted["id"]).stdout
        for event in ("session.opened", "tls.started", "auth.accepted", "message.accepted", "delivery.delivered"):
            assert event in told
        assert "hush" not in served.running.log_text()
        assert PASSWORD not in served.running.log_text()


def test_an_order_without_a_relay_is_in_the_trace() -> None:
    """The command itself is the one that acts, and the ledger has it."""
    with eventful("json") as (running, _, _):
        send(running, 1)
        running.wait(lambda: bool(running.files("cur")), "message in cur/")
        (item,) = running.queue()
        running.stop()
        assert running.command("queue", "remove", item["id"], "--yes").returncode == 0
        told = running.command("trace", item["id"])
        assert told.stdout.splitlines()[0] == f"{item['id']}  done: 1 removed"
        assert "queue.removed" in told.stdout.splitlines()[-1]


def test_what_is_no_id_and_what_nobody_knows() -> None:
    """One line each; 2 and 1."""
    with relay() as running:
        running.start()
        for words, status in ((["0" * 17], 1), (["nonsense"], 2), (["0" * 17, "--log", "/nowhere"], 1), ([], 2)):
            said = running.command("trace", *words)
            assert (said.returncode, said.stdout, len(said.stderr.splitlines())) == (status, "", 1)
