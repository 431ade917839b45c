"""What an operator does to the queue, by command and by hand, beside a running relay and without one."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.live.test_delivery import ZONE, delivering, send
from tests.world.exchanger import Exchanger
from tests.world.network import free_port
from tests.world.relay import USER, Relay

TO_HELD = "carol@held.test"


@contextmanager
def waiting(count: int = 1, **settings: str) -> Iterator[tuple[Relay, Exchanger, list[str]]]:
    """A relay with so many messages in cur/, an exchanger that is down, and the messages' IDs."""
    port = free_port("127.0.0.2")
    with (
        Exchanger("127.0.0.2", port) as exchanger,
        delivering(ZONE, port, delivery='retry = ["1h"]', **settings) as running,
    ):
        exchanger.stop()
        send(running, count)
        running.wait(lambda: len(running.files("cur")) == count, f"{count} messages in cur/")
        yield running, exchanger, [item["id"] for item in running.queue()]


def done(running: Relay, *words: str) -> str:
    """What a command says; AssertionError when it fails."""
    said = running.command(*words)
    assert said.returncode == 0, said.stderr
    return said.stdout


def balanced(running: Relay) -> dict[str, int]:
    """The audit, which must be in order."""
    said = running.command("audit", "--json")
    assert said.returncode == 0, said.stdout
    found: dict[str, int] = json.loads(said.stdout)
    parts = ("delivered", "failed", "undeliverable", "removed", "queued", "held", "set_aside")
    assert found["accepted"] == sum(found[part] for part in parts)
    return found


def test_flush_makes_a_waiting_message_due_now() -> None:
    """By its ID, by its domain, or all of them."""
    with waiting(3) as (running, exchanger, ids):
        exchanger.start()
        assert done(running, "queue", "flush", ids[0]) == "1 message due now\n"
        exchanger.wait_for(1)
        assert done(running, "queue", "flush", "example.test") == "2 messages due now\n"
        exchanger.wait_for(3)
        running.wait_until_empty()
        assert balanced(running)["delivered"] == 3


def test_a_held_message_is_not_attempted_until_it_is_released() -> None:
    """Not by a flush either."""
    with waiting() as (running, exchanger, ids):
        assert done(running, "queue", "hold", ids[0]) == "1 message on hold\n"
        exchanger.start()
        assert running.command("queue", "flush").returncode == 1
        (item,) = running.queue()
        assert (item["state"], item["next"]) == ("hold", None)
        assert balanced(running)["held"] == 1
        assert done(running, "queue", "release", ids[0]) == "1 message released, and due now\n"
        exchanger.wait_for(1)
        running.wait_until_empty()


@pytest.mark.parametrize("is_running", [True, False])
def test_a_removed_message_is_gone_and_accounted_for(is_running: bool) -> None:
    """By the delivery process, or by the command where none runs; only after yes."""
    with waiting() as (running, _, ids):
        if not is_running:
            running.stop()
        asked = running.command("queue", "remove", ids[0])
        assert (asked.returncode, asked.stdout) == (1, "remove 1 message? Type yes: nothing was removed\n")
        assert done(running, "queue", "remove", ids[0], "--yes") == "1 message removed\n"
        assert running.queue() == []
        assert balanced(running)["removed"] == 1
        if not is_running:
            running.start()
        running.wait_until_empty()
        assert running.command("queue", "remove", ids[0], "--yes").returncode == 1


def test_the_sender_is_told_of_what_is_given_up() -> None:
    """`fail` for one recipient: a notification goes to the reverse-path, the message is done."""
    zone = f"{ZONE}example.org. 60 IN MX 10 home.example.org.\nhome.example.org. 60 IN A 127.0.0.3"
    port = free_port("127.0.0.2", "127.0.0.3")
    with (
        Exchanger("127.0.0.2", port) as exchanger,
        Exchanger("127.0.0.3", port) as home,
        delivering(zone, port, delivery='retry = ["1h"]') as running,
    ):
        exchanger.stop()
        send(running, 1)
        running.wait(lambda: bool(running.files("cur")), "message in cur/")
        (item,) = running.queue()
        wrong = running.command("queue", "fail", item["id"], "nobody@example.test")
        assert wrong.returncode == 1
        assert "is no open recipient" in wrong.stderr
        assert done(running, "queue", "fail", item["id"], "bob@example.test") == "1 message given up\n"
        (report,) = home.wait_for(1)
        assert b"given up by the operator" in report.data
        running.wait_until_empty()
        found = balanced(running)
        assert (found["failed"], found["delivered"]) == (1, 1)


def test_a_pause_keeps_mail_and_outlives_a_restart() -> None:
    """Accepting goes on; status says so; resume delivers at once."""
    port = free_port("127.0.0.2")
    with Exchanger("127.0.0.2", port) as exchanger, delivering(ZONE, port) as running:
        done(running, "queue", "pause")
        send(running, 2)
        assert "paused by the operator: all deliveries" in running.command("status").stdout
        running.stop()
        running.start()
        send(running, 1)
        assert running.status()["spool"]["waiting"] == 3
        assert exchanger.messages == []
        done(running, "queue", "resume")
        exchanger.wait_for(3)
        running.wait_until_empty()
        assert running.command("queue", "resume").returncode == 1


def test_a_paused_domain_waits_while_others_are_served() -> None:
    """And its mail leaves when the pause ends."""
    zone = f"{ZONE}held.test. 60 IN MX 10 mx.example.test."
    port = free_port("127.0.0.2")
    with Exchanger("127.0.0.2", port) as exchanger, delivering(zone, port) as running:
        done(running, "queue", "pause", "held.test")
        send(running, 1, recipient=TO_HELD)
        send(running, 1)
        exchanger.wait_for(1)
        running.wait(lambda: len(running.files("cur")) == 1, "paused message in cur/")
        done(running, "queue", "resume", "held.test")
        assert exchanger.wait_for(2)[1].recipients == (b"RCPT TO:<carol@held.test>",)
        running.wait_until_empty()


@pytest.mark.parametrize(
    ("is_delivered", "target"), [(True, "hold"), (False, "hold"), (False, "failed"), (True, "cur")]
)
def test_a_message_that_is_moved_by_hand_in_the_middle_of_its_attempt(is_delivered: bool, target: str) -> None:
    """Delivered, it is gone wherever it was put; not delivered, it stays there with its journal."""
    port = free_port("127.0.0.2")
    gate = threading.Event()
    replies = {} if is_delivered else {".": b"451 4.3.0 not now\r\n"}
    with (
        Exchanger("127.0.0.2", port, before_final_reply=gate, replies=replies) as exchanger,
        delivering(ZONE, port, delivery='retry = ["1h"]') as running,
    ):
        send(running, 1)
        exchanger.wait_for(1)
        (file,) = running.files("new")
        shutil.move(file, running.spool / target / file.name)
        gate.set()
        if is_delivered:
            running.wait_for_events("delivery.delivered")
            running.wait(lambda: not running.files("hold", "failed"), "its end")
            running.wait_until_empty()
        else:
            running.wait_for_events("delivery.deferred")
            running.wait(lambda: bool(running.files("journal")), "journal")
            (item,) = running.queue()
            assert (item["state"], item["attempts"]) == (target, 1)
        balanced(running)


def test_a_removal_waits_for_the_attempt_under_way() -> None:
    """Its result is recorded: delivered means that there is nothing left to remove."""
    port = free_port("127.0.0.2")
    gate = threading.Event()
    with Exchanger("127.0.0.2", port, before_final_reply=gate) as exchanger, delivering(ZONE, port) as running:
        send(running, 1)
        exchanger.wait_for(1)
        (item,) = running.queue()
        timer = threading.Timer(1.0, gate.set)
        timer.start()
        said = running.command("queue", "remove", item["id"], "--yes")
        timer.join()
        assert said.returncode == 1
        assert "1 attempt under way" in said.stderr
        assert "no such message" in said.stderr
        running.wait_until_empty()
        assert balanced(running)["delivered"] == 1


def test_filters_choose_messages_and_sums_count_them() -> None:
    """The same filters for looking and for steering."""
    with waiting(2) as (running, _, _):
        send(running, 1, recipient="dave@nowhere-yet.test", reverse_path="eve@example.org")
        running.wait_for_events("delivery.failed")
        said = done(running, "queue", "list", "--destination", "example.test", "--json")
        assert len(json.loads(said)) == 2
        assert done(running, "queue", "list", "--from", "eve@example.org", "--state", "cur") == "no such message\n"
        assert done(running, "queue", "list", "--older", "1h") == "no such message\n"
        sums = json.loads(done(running, "queue", "list", "--by", "destination", "--json"))
        (line,) = [each for each in sums if each["destination"] == "example.test"]
        assert line["messages"] == 2
        assert "refused" in line["last_reply"].lower()
        first = json.loads(said)[0]["id"]
        assert running.command("queue", "hold", first, "--destination", "elsewhere.test").returncode == 1
        assert done(running, "queue", "hold", first, "--destination", "example.test") == "1 message on hold\n"
        bad = running.command("queue", "list", "--older", "soon")
        assert (bad.returncode, len(bad.stderr.splitlines())) == (2, 1)
        everything = running.command("queue", "hold")
        assert everything.returncode == 2
        assert "say which messages are meant" in everything.stderr


def test_unknown_ids_are_one_line_and_1() -> None:
    """For every command that takes one."""
    with waiting() as (running, _, _):
        for words in (["show"], ["flush"], ["hold"], ["release"], ["remove", "--yes"], ["fail"]):
            said = running.command("queue", *words, "0" * 17)
            assert said.returncode == 1
            assert len(said.stderr.splitlines()) == 1


def test_what_cannot_be_meant_is_said_and_the_rest_is_done() -> None:
    """An unknown ID beside a known one; a domain where one message is to be named; an address to be paused."""
    with waiting() as (running, _, ids):
        said = running.command("queue", "hold", ids[0], "0" * 17)
        assert (said.returncode, said.stdout) == (1, "1 message on hold\n")
        assert said.stderr == f"relayd: no such message in the queue: {'0' * 17}\n"
        for words in (["fail", "example.test"], ["pause", "bob@example.test"], ["pause", ""], ["resume", ""]):
            said = running.command("queue", *words)
            assert (said.returncode, len(said.stderr.splitlines())) == (2, 1)
        said = running.command("queue", "remove", ids[0], "0" * 17, "--yes")
        assert (said.returncode, said.stdout) == (1, "1 message removed\n")
        assert "paused" not in running.command("status").stdout


def test_the_end_of_a_pause_hurries_only_what_waited_for_it() -> None:
    """What waits for its next attempt goes on to: else all dead destinations were tried at once."""
    with waiting() as (running, _, ids):
        done(running, "queue", "pause")
        done(running, "queue", "resume")
        assert [file.name[:17] for file in running.files("cur")] == ids
        done(running, "queue", "pause", "example.test")
        done(running, "queue", "pause")
        done(running, "queue", "resume")
        running.wait(lambda: running.queue()[0]["attempts"] == 2, "second attempt")


def test_the_audit_names_what_is_missing() -> None:
    """A message that somebody deleted: exit status 1 and its ID."""
    with waiting() as (running, _, ids):
        running.stop()
        (file,) = running.files("cur")
        file.unlink()
        said = running.command("audit")
        assert said.returncode == 1
        assert f"missing: {ids[0]}" in said.stdout
        running.start()


def test_what_root_does_belongs_to_the_user() -> None:
    """Files that a command makes can be read and replaced by the relay."""
    if not USER:
        pytest.skip("needs root: becomes another user")
    with waiting() as (running, _, ids):
        done(running, "queue", "hold", ids[0])
        done(running, "queue", "pause", "example.net")
        owners = {path.owner() for path in running.spool.rglob("*")}
        assert owners == {USER}
