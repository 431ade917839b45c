"""The delivery process as a whole: from the spool to the exchanger and back, and to its end."""

import asyncio
import email
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest

from relayd.base import events
from relayd.base.channel import CANNOT_BOOT, RETIRED, Begin, Channel, Ready, Refused, Reopen, Retire, Waiting
from relayd.base.config import Config
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.sections import Route
from relayd.deliver import lock
from relayd.deliver.boot import deliver
from relayd.deliver.limits import Limits
from relayd.deliver.post import Post
from relayd.spool.disk import Disk
from relayd.spool.hint import Hints
from relayd.spool.layout import Layout
from relayd.spool.outcome import Kind, Outcome, Scheduled
from tests.deliver.process import MAIL, Running, configuration, delivery, moved
from tests.deliver.running import LONGEST_SECONDS, on_each_loop, run
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.session import Session

ZONE = """
example.net. 60 IN MX 10 mx.example.net.
mx.example.net. 60 IN A 127.0.0.2
example.com. 60 IN MX 10 mx.example.com.
mx.example.com. 60 IN A 127.0.0.3
example.org. 60 IN MX 10 mx.example.org.
mx.example.org. 60 IN A 127.0.0.4
"""


class Net:
    """The exchangers of three domains: net, com, and org, where the senders are."""

    def __init__(self, folder: Path, names: NameServer, port: int) -> None:
        self.folder, self.names, self.port = folder, names, port
        self.net, self.com, self.org = (Exchanger(f"127.0.0.{number}", port) for number in (2, 3, 4))

    def config(self, settings: str = "") -> Config:
        """A configuration that finds them."""
        return configuration(self.folder, self.names.address, self.port, settings)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """All of it, up and running."""
    with NameServer(ZONE) as names:
        made = Net(tmp_path, names, free_port("127.0.0.2", "127.0.0.3", "127.0.0.4"))
        with made.net, made.com, made.org:
            yield made


def outcomes(running: Running, name: str) -> list[Outcome]:
    """What a message's journal has of outcomes."""
    return [entry for entry in running.journal(name) if isinstance(entry, Outcome)]


def fields(report: Message) -> list[str]:
    """The recipients that a report is about."""
    (status,) = (part for part in report.walk() if part.get_content_type() == "message/delivery-status")
    groups = status.get_payload()
    assert isinstance(groups, list)
    return [str(group["Final-Recipient"]) for group in groups[1:] if isinstance(group, Message)]


@on_each_loop
def test_a_message_goes_from_the_spool_to_its_exchanger(net: Net, loop: str) -> None:
    """At once, by the hint; nothing stays of it. The process ends when it is told to."""

    async def main() -> None:
        async with delivery(net.config(), poll_new=LONGEST_SECONDS) as running:
            running.submit("bob@example.net")
            (event,) = await running.log.has(events.DeliveryDelivered)
            assert event.exchanger == "mx.example.net"
            assert event.chosen == "mx.example.net (not measured) is the only one"
            assert await running.retire() == RETIRED
            assert [running.names(folder) for folder in ("tmp", "new", "cur", "journal")] == [[], [], [], []]
            assert running.slot.get("delivered") == 1
            assert sum(running.slot.histogram("greeting_seconds").buckets) == 1
            assert sum(running.slot.histogram("dns_seconds").buckets) == running.slot.get("lookups") > 0

    run(main, loop)
    (message,) = net.net.messages
    assert message.data == MAIL
    assert message.reverse_path.startswith(b"MAIL FROM:<alice@example.org>")


def test_a_message_without_a_hint_is_found(net: Net) -> None:
    """The folders are the truth."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.write("bob@example.net")
            await running.log.has(events.DeliveryDelivered)

    run(main)


def test_what_was_there_before_the_start_is_delivered(net: Net) -> None:
    """In new/ and in cur/, when it is due."""

    async def main() -> None:
        config = net.config()
        async with delivery(config) as running:
            await running.retire()
            names = [running.write("bob@example.net") for _ in range(3)]
            moved(running, names[0], "new", "cur")
        async with delivery(config) as running:
            await running.log.has(events.DeliveryDelivered, 3)

    run(main)


def test_a_message_of_megabytes_is_read_from_its_file(net: Net) -> None:
    """It was not kept in memory."""
    mail = MAIL + b"".join(b".%06d\r\n" % number for number in range(100_000))

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit("bob@example.net", mail=mail)
            await running.log.has(events.DeliveryDelivered)

    run(main)
    assert net.net.messages[0].data == mail


def test_a_message_for_two_domains_goes_to_both(net: Net) -> None:
    """One copy each, and one file in the spool."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit("a@example.net", "b@example.com", "c@example.net")
            await running.log.has(events.DeliveryDelivered, 2)
            await running.retire()
            assert running.names("new") + running.names("cur") + running.names("journal") == []

    run(main)
    assert [len(message.recipients) for message in net.net.messages + net.com.messages] == [2, 1]


def test_more_than_a_hundred_recipients_go_in_portions(net: Net) -> None:
    """A transaction each; every recipient once."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit(*(f"user{number}@example.net" for number in range(150)))
            await running.log.has(events.DeliveryDelivered, 2)

    run(main)
    assert sorted(len(message.recipients) for message in net.net.messages) == [50, 100]
    assert len({path for message in net.net.messages for path in message.recipients}) == 150


def test_a_route_takes_the_mail_of_all_domains(net: Net) -> None:
    """Without a question to DNS."""

    async def main() -> None:
        config = net.config(f'[routes]\n"*" = "smtp://127.0.0.2:{net.port}"\n')
        async with delivery(config) as running:
            running.submit("a@nowhere.test", "b@example.com")
            (event,) = await running.log.has(events.DeliveryDelivered)
            assert event.recipients == "<a@nowhere.test>,<b@example.com>"

    run(main)
    assert net.names.queries == []


# Waiting.


def test_mail_waits_while_its_exchanger_is_down(net: Net) -> None:
    """In cur/, with a journal that says what happened and when the next attempt is; then it arrives."""

    async def main() -> None:
        net.net.stop()
        config = net.config()
        async with delivery(config) as running:
            name = running.submit("bob@example.net")
            await running.log.has(events.DeliveryDeferred)
            await running.retire()
            assert running.names("cur") == [name]
            first, second = running.journal(name)
            assert isinstance(first, Outcome)
            assert (first.kind, first.exchanger, first.attempt) == (Kind.DEFERRED, "mx.example.net", 1)
            assert str(first.reply).startswith("451 4.4.1 connect to 127.0.0.2:")
            assert isinstance(second, Scheduled)
            due = Path(running.layout.message("cur", name)).stat().st_mtime
            assert due == pytest.approx(second.next.timestamp(), abs=1)
            assert 250 < due - first.at.timestamp() < 350
        net.net.start()
        async with delivery(config) as running:
            moved(running, name, "cur", "new")
            (event,) = await running.log.has(events.DeliveryDelivered)
            assert event.attempt == 2
            await running.retire()
            assert running.names("cur") + running.names("journal") == []

    run(main)


def test_who_has_the_mail_gets_it_no_second_time(net: Net) -> None:
    """One domain is up and one is down; later only the other one is tried."""

    async def main() -> None:
        net.com.stop()
        config = net.config()
        async with delivery(config) as running:
            name = running.submit("a@example.net", "b@example.com")
            await running.log.has(events.DeliveryDeferred)
            await running.log.has(events.DeliveryDelivered)
        net.com.start()
        async with delivery(config) as running:
            moved(running, name, "cur", "new")
            (event,) = await running.log.has(events.DeliveryDelivered)
            assert event.recipients == "<b@example.com>"

    run(main)
    assert (len(net.net.messages), len(net.com.messages)) == (1, 1)


def test_a_connection_lost_after_the_final_dot_is_in_doubt(net: Net) -> None:
    """In the journal; the message waits for its next date and is not sent again at once."""

    async def main() -> None:
        net.net.drop_after_final_dot = True
        async with delivery(net.config()) as running:
            name = running.submit("bob@example.net")
            await running.log.has(events.DeliveryInDoubt)
            await running.retire()
            assert [each.kind for each in outcomes(running, name)] == [Kind.IN_DOUBT]
            assert running.names("cur") == [name]

    run(main)
    assert len(net.net.messages) == 1


def test_a_stop_in_the_middle_of_the_mail_data_leaves_nothing_for_a_person_to_decide(net: Net) -> None:
    """The doubt was written down before, and the stop is not a kill: the message waits for its next date."""

    async def main() -> None:
        config = net.config()
        config = replace(config, delivery=replace(config.delivery, in_doubt="hold"))
        net.net.actions = {"354": lambda wire: wire.rest(LONGEST_SECONDS)}
        async with delivery(config) as running:
            name = running.submit("bob@example.net", mail=400_000 * (78 * b"x" + b"\r\n"))
            while not outcomes(running, name):
                await asyncio.sleep(0)
            assert await running.retire() == RETIRED
            assert (running.names("hold"), running.names("cur")) == ([], [name])
        net.net.actions = {}
        os.utime(Path(running.layout.folder("cur"), name))
        async with delivery(config) as running:
            await running.log.has(events.DeliveryDelivered)

    run(main)


# Failing.


def test_a_failure_comes_back_to_the_reverse_path(net: Net) -> None:
    """As a notification that has a null reverse-path itself; the message is gone."""

    async def main() -> None:
        net.net.replies = {"RCPT": b"550 5.1.1 no such user\r\n"}
        async with delivery(net.config()) as running:
            name = running.submit("a@example.net", "b@example.net", "c@nowhere.test", "d@example.com")
            (queued,) = await running.log.has(events.DsnQueued)
            assert (queued.about, queued.recipient) == (name.partition(",")[0], "<alice@example.org>")
            await running.log.has(events.DeliveryDelivered, 2)
            await running.retire()
            assert running.names("new") + running.names("cur") + running.names("journal") == []

    run(main)
    (notification,) = net.org.messages
    assert notification.reverse_path == b"MAIL FROM:<> SIZE=%d" % len(notification.data)
    report = email.message_from_bytes(notification.data)
    assert report["To"] == "<alice@example.org>"
    assert sorted(fields(report)) == [
        f"rfc822; {each}" for each in ("a@example.net", "b@example.net", "c@nowhere.test")
    ]
    assert b"Subject: test" in notification.data


def test_a_failed_notification_causes_none(net: Net) -> None:
    """It is logged, counted, and gone."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit("bob@nowhere.test", reverse_path=None)
            await running.log.has(events.DsnOmitted)
            await running.retire()
            assert running.names("new") + running.names("cur") + running.names("journal") == []
            assert running.slot.get("undeliverable") == 1

    run(main)
    assert net.org.connections == 0


def test_a_failed_notification_goes_to_the_postmaster_once(net: Net) -> None:
    """And when he cannot be reached either, that is the end."""

    async def main() -> None:
        net.com.replies = {"RCPT": b"550 5.1.1 nobody\r\n"}
        async with delivery(net.config('[relay]\npostmaster = "ops@example.com"\n')) as running:
            running.submit("bob@nowhere.test", reverse_path=None)
            await running.log.has(events.DsnQueued)
            (omitted,) = await running.log.has(events.DsnOmitted)
            assert omitted.recipients == "<ops@example.com>"
            await running.retire()
            assert running.names("new") + running.names("cur") + running.names("journal") == []
            assert len(running.log.named(events.DsnQueued)) == 1

    run(main)


# A destination that does not answer, and the others.


def test_mail_for_a_dead_destination_does_not_hold_up_the_others(net: Net) -> None:
    """All places are taken by mail for one that never greets; a message for another domain leaves all the same."""

    async def main() -> None:
        async with delivery(net.config(), in_flight=60, at_once=20, backlog_least=10) as running:
            for _ in range(200):
                running.submit("bob@example.net")
            await asyncio.to_thread(asked.wait, LONGEST_SECONDS)
            running.submit("carol@example.com")
            (event,) = await running.log.has(events.DeliveryDelivered)
            assert event.recipients == "<carol@example.com>"
            assert running.log.named(events.DeliveryDeferred) == [], "the dead one is still being waited for"
            await running.retire(0.0)
            assert len(running.names("new") + running.names("cur")) == 200
            assert running.names("journal") == []

    asked = threading.Event()

    def silent(session: Session, line: bytes) -> bytes:
        asked.set()
        return b""

    net.net.replies = {"CONNECT": silent}
    run(main)
    assert net.net.connections == 1


def test_a_healthy_destination_gets_more_than_fits_at_once(net: Net) -> None:
    """What was settled makes room at once, and nothing is given back: there is much, but nobody is slow."""

    async def main() -> None:
        config = net.config()
        before = Running(config, Limits(), None)
        for _ in range(300):
            before.write("bob@example.net")
        async with delivery(config, in_flight=40, at_once=20, poll_new=LONGEST_SECONDS) as running:
            await running.log.has(events.DeliveryDelivered, 300)

    run(main)
    assert len(net.net.messages) == 300


# Trouble with the spool.


class Faulty(Disk):
    """Raises on reading the names of a folder, and on syncing a file, as long as it is told to."""

    def __init__(self) -> None:
        self.names_error: Exception | None = None
        self.sync_error: OSError | None = None
        self.failed = threading.Event()

    def names(self, path: str) -> list[str]:
        """Fails or not."""
        if self.names_error is not None:
            self.failed.set()
            raise self.names_error
        return super().names(path)

    def sync(self, fd: int) -> None:
        """Fails or not."""
        if self.sync_error is not None:
            self.failed.set()
            raise self.sync_error
        super().sync(fd)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_a_folder_that_cannot_be_read_ends_nothing(net: Net, number: int) -> None:
    """It is told, and met again later; when it is over, mail goes on."""

    async def main() -> None:
        disk = Faulty()
        async with delivery(net.config(), disk=disk) as running:
            disk.names_error = OSError(number, os.strerror(number))
            running.write("bob@example.net")
            await running.log.has(events.SpoolTrouble)
            disk.names_error = None
            await running.log.has(events.DeliveryDelivered)
            assert len(running.log.named(events.SpoolTrouble)) < 5

    run(main)


def test_a_bug_in_a_turn_is_told_and_the_next_turn_comes(net: Net) -> None:
    """Not in a hot loop: the pause doubles."""

    async def main() -> None:
        disk = Faulty()
        async with delivery(net.config(), disk=disk, has_bug=True) as running:
            disk.names_error = ZeroDivisionError("a bug")
            name = running.submit("bob@example.net")
            await running.log.has(events.Bug, 3)
            disk.names_error = None
            await running.log.has(events.DeliveryDelivered)
            bugs = running.log.named(events.Bug)
            assert len(bugs) < 10
            assert "ZeroDivisionError: a bug" in bugs[0].traceback
            assert running.slot.get("bugs") == len(bugs)
            await running.retire()
            assert name not in running.names("new")

    run(main)


class Unreadable(dict[str, Route]):
    """Routes that cannot be asked."""

    def __len__(self) -> int:
        raise ZeroDivisionError("a bug")


def test_a_bug_before_any_parcel_is_made_loses_no_message(net: Net) -> None:
    """It is put back for a while."""

    async def main() -> None:
        async with delivery(replace(net.config(), routes=Unreadable()), has_bug=True) as running:
            name = running.submit("bob@example.net")
            await running.log.has(events.Bug)
            await running.retire()
            assert running.names("cur") == [name]
            assert running.names("journal") == []

    run(main)


def test_a_spool_that_is_none_refuses_to_boot(net: Net) -> None:
    """With one line for the operator, and no traceback."""

    async def main() -> None:
        config = net.config()
        running = Running(config, Limits(), None)
        folder = Path(running.layout.folder("new"))
        folder.rmdir()
        folder.touch()
        said = await running.start()
        assert isinstance(said, Refused)
        assert said.reason.startswith("delivery: spool: ")
        assert await running.ended() == CANNOT_BOOT
        assert running.log.named(events.Bug) == []

    run(main)


# The end.


@on_each_loop
def test_a_stop_waits_for_the_final_reply_and_settles_it(net: Net, loop: str) -> None:
    """The exchanger has the message: it must be gone from the spool when the process is."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit("bob@example.net")
            await asyncio.to_thread(net.net.wait_for, 1)
            running.channel.send(Retire(LONGEST_SECONDS))
            await asyncio.sleep(0)
            gate.set()
            assert await running.ended() == RETIRED
            assert running.names("new") + running.names("cur") + running.names("journal") == []

    gate = threading.Event()
    net.net.before_final_reply = gate
    run(main, loop)


@on_each_loop
def test_a_stop_that_runs_out_of_time_leaves_a_doubt(net: Net, loop: str) -> None:
    """In the journal, so that people can see it; the message waits."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            name = running.submit("bob@example.net")
            await asyncio.to_thread(net.net.wait_for, 1)
            assert await running.retire(0.05) == RETIRED
            assert [each.kind for each in outcomes(running, name)] == [Kind.IN_DOUBT]
            assert running.names("cur") == [name]

    net.net.before_final_reply = threading.Event()
    run(main, loop)


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "DATA"])
def test_a_stop_before_the_final_dot_leaves_the_message_as_it_was(net: Net, verb: str) -> None:
    """Nothing was learned, and the next start tries it again."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            name = running.submit("bob@example.net")
            await asyncio.to_thread(heard.wait, LONGEST_SECONDS)
            assert await running.retire() == RETIRED
            assert running.names("new") == [name]
            assert running.names("journal") == []

    heard = threading.Event()

    def silent(session: Session, line: bytes) -> bytes:
        heard.set()
        return b""

    net.net.replies = {verb: silent}
    run(main)
    assert net.net.messages == []


def test_a_stop_waits_for_no_answer_that_does_not_matter(net: Net) -> None:
    """The transaction is over and settled; only RSET is not answered yet."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit("bob@example.net")
            await asyncio.to_thread(heard.wait, LONGEST_SECONDS)
            assert await running.retire() == RETIRED

    heard = threading.Event()

    def silent(session: Session, line: bytes) -> bytes:
        heard.set()
        return b""

    net.net.replies = {"RCPT": b"450 4.2.1 busy\r\n", "RSET": silent}
    run(main)


def test_a_disk_that_fails_does_not_keep_the_process(net: Net) -> None:
    """The outcome is lost with it, which a failing disk cannot help; the message is still there."""

    async def main() -> None:
        disk = Faulty()
        async with delivery(net.config(), disk=disk) as running:
            disk.sync_error = OSError(errno.EIO, "Input/output error")
            name = running.submit("a@example.net", "b@nowhere.test")
            await asyncio.to_thread(disk.failed.wait, LONGEST_SECONDS)
            await running.log.has(events.DeliveryDelivered)
            assert await running.retire() == RETIRED
            assert running.names("new") + running.names("cur") == [name]

    run(main)


def test_a_disk_that_hangs_does_not_keep_the_process(net: Net) -> None:
    """It waits for a bounded time only."""

    class Hanging(Disk):
        """It waits for the test when the middle of a file is read, and from then on when one is synced."""

        def sync(self, fd: int) -> None:
            """Hangs."""
            if reading.is_set():
                syncing.set()
                gate.wait(LONGEST_SECONDS)

        def read(self, fd: int, size: int, offset: int) -> bytes:
            """Hangs after the head."""
            if offset > 0:
                reading.set()
                gate.wait(LONGEST_SECONDS)
            return super().read(fd, size, offset)

    async def main() -> None:
        async with delivery(net.config(), disk=Hanging(), last_write=0.05) as running:
            running.submit("carol@example.net", mail=MAIL + b"x\r\n" * 100_000)
            await asyncio.to_thread(reading.wait, LONGEST_SECONDS)
            running.submit("bob@nowhere.test")
            await asyncio.to_thread(syncing.wait, LONGEST_SECONDS)
            assert await running.retire() == RETIRED
            gate.set()

    syncing, reading, gate = threading.Event(), threading.Event(), threading.Event()
    run(main)


def test_a_disk_that_hangs_in_the_middle_of_a_turn_does_not_keep_the_process(net: Net) -> None:
    """Nothing is claimed yet; the turn is not waited for."""

    class Hanging(Disk):
        """It waits for the test when a folder is read after the start."""

        def names(self, path: str) -> list[str]:
            """Hangs."""
            if armed.is_set():
                listing.set()
                gate.wait(LONGEST_SECONDS)
            return super().names(path)

    async def main() -> None:
        async with delivery(net.config(), disk=Hanging(), last_write=0.05) as running:
            armed.set()
            running.write("bob@example.net")
            await asyncio.to_thread(listing.wait, LONGEST_SECONDS)
            assert await running.retire() == RETIRED
            gate.set()

    armed, listing, gate = threading.Event(), threading.Event(), threading.Event()
    run(main)


def test_the_end_of_the_master_is_the_end(net: Net) -> None:
    """Nobody else would end this process, and a new master wants the lock."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.channel.close()
            assert await running.ended() == RETIRED

    run(main)


def test_the_log_is_opened_anew_when_the_master_says_so(net: Net) -> None:
    """After somebody has moved its file away."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.channel.send(Reopen())
            running.submit("bob@example.net")
            await running.log.has(events.DeliveryDelivered)

    run(main)


# The process as the master forks it.


@contextmanager
def forked(config: Config, loop: str) -> Iterator[tuple[Channel, Path, int]]:
    """A child that delivers: the master's end of its channel, its log, its pid."""
    ours, theirs = Channel.pair()
    path = config.spool.directory / "log"
    post = Post(
        config, frozenset(), Hints(), theirs, Board(1).slot(0), Log("text", path), Limits(lock=0.0, poll_new=0.02)
    )
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.environ["RELAYD_LOOP"] = loop
        status = 99
        try:
            status = deliver(post)
        finally:
            os._exit(status)
    theirs.close()
    try:
        yield ours, path, pid
    finally:
        ours.close()


def exit_status(pid: int) -> int:
    """How the child ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def hear(channel: Channel) -> object:
    """What the child says next."""
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(channel.fileno(), readable.set)
    await readable.wait()
    asyncio.get_running_loop().remove_reader(channel.fileno())
    return channel.receive()


def begins(channel: Channel) -> None:
    """It waits for the word, and gets it."""
    assert run(lambda: hear(channel)) == Waiting()
    channel.send(Begin())


@pytest.mark.parametrize("word", [Retire(5.0), None])
def test_a_forked_process_that_waits_has_no_lock_and_can_be_sent_away(net: Net, word: Retire | None) -> None:
    """The one before it still works; None is the end of its master."""
    config = net.config()
    layout = Layout(str(config.spool.directory))
    with lock.held(layout.delivery_lock, 0.0), forked(config, "uvloop") as (channel, log, pid):
        assert run(lambda: hear(channel)) == Waiting()
        if word is None:
            channel.close()
        else:
            channel.send(word)
        assert exit_status(pid) == RETIRED
        assert log.read_text() == ""


@on_each_loop
def test_a_forked_process_delivers_and_retires(net: Net, loop: str) -> None:
    """With its lock, its log, and signals that it leaves to the master."""
    config = net.config()
    with forked(config, loop) as (channel, log, pid):
        begins(channel)
        assert run(lambda: hear(channel)) == Ready()
        os.kill(pid, 15)
        running = Running(config, Limits(), None)
        running.write("bob@example.net")
        net.net.wait_for(1, LONGEST_SECONDS)
        channel.send(Retire(LONGEST_SECONDS))
        assert exit_status(pid) == RETIRED
        assert " delivery.delivered " in log.read_text()
        assert running.names("new") == []


def test_a_second_process_on_a_spool_is_refused_with_the_pid_of_the_first(net: Net) -> None:
    """And ends so that the master does not start it again."""
    config = net.config()
    layout = Layout(str(config.spool.directory))
    with lock.held(layout.delivery_lock, 0.0), forked(config, "uvloop") as (channel, log, pid):
        begins(channel)
        said = run(lambda: hear(channel))
        assert said == Refused(
            f"delivery: another relayd uses {layout.root}: {layout.delivery_lock} is held by pid {os.getpid()}"
        )
        assert exit_status(pid) == CANNOT_BOOT
        assert log.read_text() == ""


# Routes that carry nothing.


def test_what_a_route_holds_is_in_hold_and_the_rest_goes(net: Net) -> None:
    """A message with other recipients waits with those that are held until the others are done."""

    async def main() -> None:
        config = net.config('[routes]\n"held.test" = {hold = true}')
        async with delivery(config, untried=0.01) as running:
            alone = running.submit("a@held.test")
            await running.log.has(events.QueueMoved)
            mixed = running.submit("a@held.test", "bob@example.net")
            await running.log.has(events.DeliveryDelivered)
            await running.log.has(events.QueueMoved, 2)
            assert await running.retire() == RETIRED
            assert running.names("hold") == sorted([alone, mixed])
            assert running.names("new") == running.names("cur") == []
            assert [each.recipients for each in outcomes(running, mixed)] == [(1,)]

    run(main)
    assert len(net.net.messages) == 1


def test_a_route_that_refuses_has_its_mail_returned(net: Net) -> None:
    """What was taken before the route said so; the sender is told in the route's words."""

    async def main() -> None:
        config = net.config('[routes]\n"gone.test" = {error = "5.1.2 we have moved"}')
        async with delivery(config) as running:
            running.submit("a@gone.test")
            (failed,) = await running.log.has(events.DeliveryFailed)
            assert failed.reply == "550 5.1.2 we have moved"
            await running.log.has(events.DeliveryDelivered)

    run(main)
    (notice,) = net.org.messages
    assert b"we have moved" in notice.data


def test_each_part_of_too_many_recipients_is_recorded_as_it_ends(net: Net) -> None:
    """The message is done when the last part is."""

    async def main() -> None:
        async with delivery(net.config()) as running:
            running.submit(*(f"user{number}@example.net" for number in range(5)))
            told = await running.log.has(events.DeliveryDelivered, 3)
            assert {each.attempt for each in told} == {1}
            assert await running.retire() == RETIRED
            assert [running.names(folder) for folder in ("new", "cur", "journal")] == [[], [], []]

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return None if len(session.recipients) < 2 else b"452 4.5.3 too many recipients\r\n"

    net.net.replies = {"RCPT": rcpt}
    run(main)
    assert [len(message.recipients) for message in net.net.messages] == [2, 2, 1]
    assert net.net.connections == 1


# A destination that takes little.


@pytest.mark.parametrize("limit", ['rate = "1/min"', "connections = 1"])
def test_a_backlog_within_limits_leaves_room_for_other_mail(net: Net, limit: str) -> None:
    """However much waits for one domain, what comes for another goes at once; all stays in the queue."""

    async def main() -> None:
        config = net.config(f'[delivery.limits."example.net"]\n{limit}')
        async with delivery(config, in_flight=20, at_once=10, relief=0.02, patience=0.04) as running:
            for _ in range(150):
                running.submit("bob@example.net")
            # The first one is under way, so that the others are known to wait.
            await asyncio.to_thread(net.net.wait_for, 1)
            for number in range(5):
                running.submit("bob@example.com")
                await asyncio.to_thread(net.com.wait_for, number + 1)
            assert len(net.net.messages) == 1
            assert await running.retire(0.1) == RETIRED
            assert len(running.names("new")) + len(running.names("cur")) in (149, 150)

    gate = threading.Event()
    if "connections" in limit:
        net.net.before_final_reply = gate
    run(main)
