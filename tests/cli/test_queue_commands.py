"""The commands below `queue`, as far as they need no running relay and no other user."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relayd.base.config import Config, load
from relayd.cli import main
from relayd.cli.queue import show
from relayd.cli.queue.orders import Orders
from relayd.cli.queue.select import complain_of_none
from relayd.deliver import lock
from relayd.deliver.operator import DONE
from relayd.master.control import OperatePlease
from relayd.smtp.reply import reply
from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, Recipient, pack
from relayd.spool.ids import derived
from relayd.spool.journal import Journal
from relayd.spool.layout import Layout, name_of
from relayd.spool.outcome import Kind, Notified, Outcome
from relayd.spool.pause import Pause
from relayd.spool.view import Item

ID = "01jwn9q3w5zabcdef"
OTHER = "01jwn9q3w5zabcdeg"
NO_SUCH_USER = reply(550, "5.1.1", "no such user")
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a relay that does not run, with an empty spool."""
    path = tmp_path / "relayd.toml"
    path.write_text('hostname = "relay.example.org"\n[process]\npid_file = "relayd.pid"\n')
    config = load(path, spool=tmp_path / "spool")
    layout_of(config).create()
    return config


def layout_of(config: Config) -> Layout:
    """Its spool's."""
    return Layout(str(config.spool.directory))


def put(config: Config, state: str, *recipients: str) -> Path:
    """A message of the ID in a folder of the spool."""
    envelope = Envelope(
        arrived=NOON,
        reverse_path="alice@example.org",
        recipients=tuple(map(Recipient, recipients or ("bob@example.net",))),
    )
    content = pack(envelope) + b"Subject: test\r\n\r\ntext\r\n"
    path = Path(layout_of(config).message(state, name_of(ID, len(content))))
    path.write_bytes(content)
    return path


def names(config: Config, *states: str) -> list[str]:
    """What is in these folders of the spool, but for what is reserved and marks of our own."""
    return [path.name for state in states for path in (config.spool.directory / state).iterdir()]


# Orders without a relay.


def test_a_promised_notification_outlives_the_removal_of_its_message(config: Config) -> None:
    """The relay was killed before it became visible: the journal that speaks of it goes with the message."""
    put(config, "hold", "bob@example.net", "carol@example.net")
    layout = layout_of(config)
    notice = Envelope(arrived=NOON, reverse_path=None, recipients=(Recipient("alice@example.org"),))
    Path(layout.prepared(ID, 1)).write_bytes(pack(notice) + b"Subject: sorry\r\n\r\n")
    failed = Outcome(at=NOON, recipients=(0,), kind=Kind.FAILED, reply=NO_SUCH_USER, attempt=1)
    journal = Journal(Disk(), layout, ID)
    journal.append([failed, Notified(at=NOON, attempt=1, message=derived(ID, 1))])
    with Orders(config, print) as orders:
        assert orders.carry_out(OperatePlease("remove", (ID,))) == (DONE,)
    assert [name.partition(",")[0] for name in names(config, "new")] == [derived(ID, 1)]
    assert names(config, "hold", "journal", "tmp") == []


def test_orders_without_a_relay_are_given_to_the_end_under_one_lock(config: Config) -> None:
    """No relay begins in between; afterwards one may."""
    put(config, "cur")
    with Orders(config, print) as orders:
        assert orders.carry_out(OperatePlease("fail", (OTHER,))) == ("no such message",)
        assert lock.holder(layout_of(config).delivery_lock) is not None
        assert orders.carry_out(OperatePlease("fail", (ID,))) == (DONE,)
    assert lock.holder(layout_of(config).delivery_lock) is None
    assert len(names(config, "new")) == 1
    assert names(config, "cur") == []


def test_what_the_spool_has_to_report_is_told(config: Config) -> None:
    """There is no log: a file that is set aside is named here."""
    (config.spool.directory / "new" / "stranger").write_text("")
    told: list[str] = []
    with Orders(config, told.append) as orders:
        orders.carry_out(OperatePlease("fail", (ID,)))
    (line,) = told
    assert "queue.moved" in line
    assert "stranger" in line


def test_while_another_process_has_the_queue_the_answer_says_so(config: Config) -> None:
    """For each ID."""
    with lock.held(layout_of(config).delivery_lock, 0.0), Orders(config, print) as orders:
        first, second = orders.carry_out(OperatePlease("fail", (ID, OTHER)))
    assert first == second
    assert "is held by pid" in first


# The choice.


def test_each_id_and_domain_that_fits_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Though others fit."""
    item = Item(id=ID, state="cur", name=f"{ID},S=1", domains=("example.net",))
    chosen = argparse.Namespace(targets=[ID, OTHER, "Example.NET", "example.org"])
    assert complain_of_none(chosen, [item]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"relayd: no such message in the queue: {OTHER}",
        "relayd: no such message in the queue: example.org",
    ]
    assert complain_of_none(argparse.Namespace(targets=[ID]), [item]) == 0
    assert complain_of_none(argparse.Namespace(targets=[]), []) == 1


# A disk that fails.


def test_what_the_disk_refuses_is_one_line(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is: here the file that says what the spool is cannot be read."""
    (config.spool.directory / "format").unlink()
    (config.spool.directory / "format").mkdir()
    assert main(["queue", "show", ID, "-c", str(config.source), "--spool", str(config.spool.directory)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Is a directory")


# A message.


def shown(config: Config, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `show` says of it."""
    assert show.run(config, argparse.Namespace(id=ID, raw=False, transcript=False)) == 0
    return capsys.readouterr().out.splitlines()


def test_it_is_shown_that_a_message_waits_for_a_pause(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The domain's, or everybody's."""
    put(config, "cur", "bob@example.net", "carol@example.org")
    pause = Pause(layout_of(config))
    assert not any("paused" in line for line in shown(config, capsys))
    pause.add("example.org")
    assert [line for line in shown(config, capsys) if "paused" in line] == [
        "  Deliveries to example.org are paused."
    ]
    pause.add("*")
    assert sum("paused" in line for line in shown(config, capsys)) == 2


def test_of_a_message_that_was_never_tried_it_is_shown_where_its_destination_is(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own journal has nothing: what the destination said stands in those of others."""
    put(config, "cur")
    assert any("queue list --by destination" in line for line in shown(config, capsys))
    put(config, "cur").rename(config.spool.directory / "new" / put(config, "cur").name)
    assert not any("queue list --by destination" in line for line in shown(config, capsys))
