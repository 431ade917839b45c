"""`relayd trace`: one message's life from three witnesses, each thing told once, whoever is missing."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relayd.base import events
from relayd.base.config import Config, load
from relayd.base.events import Event
from relayd.base.line import Format, read, render
from relayd.cli import main
from relayd.cli.timeline import Happening, is_about, timeline
from relayd.smtp.reply import reply
from relayd.spool.disk import Disk
from relayd.spool.envelope import Envelope, Recipient, pack
from relayd.spool.ids import arrival, derived
from relayd.spool.journal import Journal
from relayd.spool.layout import Layout, name_of
from relayd.spool.ledger import Fate, Ledger, Line
from relayd.spool.outcome import Entry, Kind, Notified, Outcome, Scheduled

ID, SESSION, STRANGER = "1k13n17cbmb9ada40", "1k13n17ca9b9ada40", "1k13n17cbmb9ada4z"
OTHER = "1k13n17cbmb9ada4x"
CAME = datetime.fromtimestamp(arrival(ID), UTC)
NOTICE = derived(ID, 2)
EXCHANGER = "mx.example.net"
LATER = reply(451, "4.3.0", "not now")
NEVER = reply(550, "5.1.1", "no such user")
ENVELOPE = Envelope(
    arrived=CAME,
    reverse_path="alice@example.org",
    recipients=(Recipient("bob@example.net"), Recipient("carol@example.net")),
    session=SESSION,
)
Run = Callable[..., tuple[int, str, str]]


def after(seconds: float) -> datetime:
    """So long after the message came."""
    return CAME + timedelta(seconds=seconds)


def outcome(kind: Kind, attempt: int, seconds: float, *recipients: int) -> Outcome:
    """What an attempt at the exchanger came to."""
    answer = reply(250, "2.0.0", "Ok") if kind is Kind.DELIVERED else NEVER if kind is Kind.FAILED else LATER
    return Outcome(
        at=after(seconds), recipients=recipients, kind=kind, reply=answer, attempt=attempt, exchanger=EXCHANGER
    )


def delivery(of: type[Any], attempt: int, recipients: str, answer: object, **more: Any) -> Event:
    """The log's event of an attempt."""
    fields = {"id": ID, "recipients": recipients, "attempt": attempt, "reply": str(answer), "exchanger": EXCHANGER}
    event: Event = of(**fields, **more)
    return event


ACCEPTED = events.MessageAccepted(
    id=ID, session=SESSION, client="[::1]:9", reverse_path="<alice@example.org>", recipients=2, size=7
)
# Deferred, then one recipient got it and the other was refused, of which the sender was told.
LOG: tuple[tuple[float, Event], ...] = (
    (-0.5, events.SessionOpened(session=SESSION, client="[::1]:9")),
    (-0.2, events.RecipientRefused(session=SESSION, client="[::1]:9", recipient="<x>", reply="550 5.7.1 no")),
    (
        -0.1,
        events.MessageAccepted(
            **{**{f: getattr(ACCEPTED, f) for f in ACCEPTED.__struct_fields__}, "id": STRANGER}
        ),
    ),
    (0.1, ACCEPTED),
    (0.2, events.SessionClosed(session=SESSION, client="[::1]:9", messages=2, seconds=0.7, reason="quit")),
    (1.01, delivery(events.DeliveryDeferred, 1, "<bob@example.net>,<carol@example.net>", LATER)),
    (301.01, delivery(events.DeliveryDelivered, 2, "<bob@example.net>", "250 2.0.0 Ok", age_s=301.0)),
    (301.02, delivery(events.DeliveryFailed, 2, "<carol@example.net>", NEVER)),
    (301.03, events.DsnQueued(id=NOTICE, about=ID, recipient="<alice@example.org>")),
    (
        302.0,
        events.DeliveryAttempted(
            id=STRANGER, destination="x", exchanger="x", address="x", reply=f"queued as {ID}"
        ),
    ),
)
JOURNAL: tuple[Entry, ...] = (
    outcome(Kind.DEFERRED, 1, 1.0, 0, 1),
    Scheduled(at=after(1.0), attempt=1, next=after(301.0)),
    outcome(Kind.DELIVERED, 2, 301.0, 0),
    outcome(Kind.FAILED, 2, 301.0, 1),
    Notified(at=after(301.02), attempt=2, message=NOTICE),
)
LEDGER = (
    Line(after(0.0), Fate.ACCEPTED, ID, (0, 1)),
    Line(after(301.0), Fate.DELIVERED, ID, (0,)),
    Line(after(301.0), Fate.FAILED, ID, (1,)),
)


def log_text(format: Format = "text") -> bytes:
    """The whole log."""
    return b"".join(render(event, format, after(seconds), 7) for seconds, event in LOG)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a relay that does not run, with an empty spool."""
    path = tmp_path / "relayd.toml"
    path.write_text('hostname = "relay.example.org"\n[spool]\ndirectory = "spool"\n')
    found = load(path)
    Layout(str(found.spool.directory)).create()
    return found


@pytest.fixture
def run(config: Config, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command: exit status, standard output and error."""

    def command(*words: str) -> tuple[int, str, str]:
        status = main(["trace", *words, "-c", str(config.source)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return command


def write_all(config: Config, *, is_gone: bool, format: Format = "text") -> None:
    """The spool and the log of the whole life."""
    layout = Layout(str(config.spool.directory))
    Ledger(layout, Disk()).append(LEDGER)
    (config.spool.directory / "relayd.log").write_bytes(log_text(format))
    if not is_gone:
        content = pack(ENVELOPE) + b"Subject: x\r\n\r\n"
        Path(layout.message("cur", name_of(ID, len(content)))).write_bytes(content)
        Journal(Disk(), layout, ID).append(JOURNAL)


def shown(life: list[Happening]) -> list[tuple[str, str]]:
    """Each event and who told of it."""
    return [(each.event, "+".join(each.sources)) for each in life]


@pytest.mark.parametrize("format", ["text", "json"])
def test_three_witnesses_make_one_timeline(config: Config, run: Run, format: Format) -> None:
    """In the order of time, each thing once with all who told of it, before the message came and after."""
    write_all(config, is_gone=False, format=format)
    status, said, complaints = run(ID, "--json")
    assert (status, complaints) == (0, "")
    told = json.loads(said)
    assert [(each["event"], "+".join(each["sources"])) for each in told["events"]] == [
        ("session.opened", "log"),
        ("recipient.refused", "log"),
        ("message.accepted", "log+ledger"),
        ("session.closed", "log"),
        ("delivery.deferred", "log+journal"),
        ("scheduled", "journal"),
        ("delivery.delivered", "log+journal+ledger"),
        ("delivery.failed", "log+journal+ledger"),
        ("dsn.queued", "log+journal"),
    ]
    assert [each["offset_s"] for each in told["events"]] == [-0.5, -0.2, 0.0, 0.2, 1.0, 1.0, 301.0, 301.0, 301.02]


@pytest.mark.parametrize("pack_log", [False, True])
def test_a_message_that_is_gone_has_its_timeline_still(config: Config, run: Run, pack_log: bool) -> None:
    """From ledger and log, also where the log was rotated and packed; the first line says how it ended."""
    write_all(config, is_gone=True)
    log = config.spool.directory / "relayd.log"
    if pack_log:
        (config.spool.directory / "relayd.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
        log.write_bytes(b"")
    status, said, complaints = run(ID)
    assert (status, complaints) == (0, "")
    first, day, *lines = said.splitlines()
    assert first == f"{ID}  done: 1 delivered, 1 failed"
    assert day == f"{CAME.date()}, UTC"
    assert len(lines) == 8
    assert "+5m 1s  delivery.delivered  recipients=<bob@example.net> attempt=2" in lines[5]
    assert lines[5].endswith("[log ledger]")


def test_a_message_that_nobody_knows_the_end_of_is_not_called_done(config: Config, run: Run) -> None:
    """Its file was taken away: the audit says more."""
    write_all(config, is_gone=True)
    Ledger(Layout(str(config.spool.directory)), Disk()).append([Line(CAME, Fate.ACCEPTED, OTHER, (0,))])
    status, said, _ = run(OTHER)
    assert (status, said.splitlines()[0]) == (0, f"{OTHER}  gone: 1 unaccounted for (see relayd audit)")


def test_without_a_log_the_ledger_says_what_it_knows(config: Config, run: Run) -> None:
    """And one line says where the log was looked for."""
    write_all(config, is_gone=True)
    (config.spool.directory / "relayd.log").unlink()
    status, said, complaints = run(ID)
    assert status == 0
    assert complaints == f"relayd: no log at {config.spool.directory}/relayd.log: name the log with --log FILE\n"
    assert [line[27:46].rstrip() for line in said.splitlines()[2:]] == [
        "message.accepted",
        "delivery.delivered",
        "delivery.failed",
    ]
    assert "recipients=#1 " in said


def test_a_log_alone_is_enough(config: Config, run: Run, tmp_path: Path) -> None:
    """On a machine without the spool, named by --log."""
    log = tmp_path / "copied.log"
    log.write_bytes(log_text())
    status, said, _ = run(ID, "--log", str(log), "--spool", str(tmp_path / "nowhere"))
    assert status == 0
    assert "delivery.failed" in said
    status, _, complaints = run(ID, "--spool", str(tmp_path / "nowhere"))
    assert (status, len(complaints.splitlines())) == (1, 1)


def test_a_session_has_a_timeline_too(config: Config, run: Run) -> None:
    """With all of its messages."""
    write_all(config, is_gone=True)
    status, said, _ = run(SESSION)
    assert status == 0
    assert said.startswith(f"{SESSION}  a session\n")
    assert said.count("message.accepted") == 2


def test_a_notification_has_one_too(config: Config, run: Run) -> None:
    """Its line says what it is about."""
    write_all(config, is_gone=True)
    Ledger(Layout(str(config.spool.directory)), Disk()).append([Line(after(301.03), Fate.ACCEPTED, NOTICE, (0,))])
    status, said, _ = run(NOTICE)
    assert status == 0
    (line,) = said.splitlines()[2:]
    assert f"dsn.queued          about={ID}" in line
    assert line.endswith("[log ledger]")


@pytest.mark.parametrize(
    ("words", "expected"), [((STRANGER[:-1] + "y",), 1), (("X" * 17,), 2), (("../x",), 2), (("",), 2)]
)
def test_what_nobody_knows_is_one_line(config: Config, run: Run, words: tuple[str, ...], expected: int) -> None:
    """1 for an ID that nothing knows, 2 for what is no ID."""
    write_all(config, is_gone=True)
    status, said, complaints = run(*words)
    assert (status, said, len(complaints.splitlines())) == (expected, "", 1)


def test_a_log_that_is_not_there_is_named(config: Config, run: Run) -> None:
    """Where somebody has named it."""
    write_all(config, is_gone=True)
    assert run(ID, "--log", "/nowhere/relayd.log") == (1, "", "relayd: /nowhere/relayd.log: not there\n")


def test_the_words_of_strangers_put_nothing_into_a_timeline() -> None:
    """An ID in a recipient, a reply or a name is grep's to find; what we say ourselves of a message counts."""
    others = [
        events.RecipientRefused(session=SESSION, client="[::1]:9", recipient=f"<{ID}@x>", reply="550 no"),
        LOG[-1][1],
        events.SessionRefused(client="[::1]:9", reason=ID),
    ]
    ours = [
        events.Bug(where=f"settling of {ID}", traceback="x"),
        events.SpoolTrouble(reason=f"open {ID}: Input/output error"),
        events.DsnOmitted(id=ID, recipients="<x>", reply="550 no"),
    ]
    for event, is_ours in [*((each, False) for each in others), *((each, True) for each in ours)]:
        found = read(render(event, "text", CAME, 7).decode())
        assert found is not None
        assert is_about(found, ID) is is_ours


def test_what_happened_twice_is_told_twice() -> None:
    """Two recipients at two exchangers in one attempt, and a copy that was sent again."""
    twice = [outcome(Kind.DELIVERED, 1, 1.0, 0), outcome(Kind.DELIVERED, 1, 1.0, 1)]
    log = [
        read(
            render(
                delivery(events.DeliveryDelivered, 1, who, "250 2.0.0 Ok", age_s=1.0), "text", after(1.1), 7
            ).decode()
        )
        for who in ("<carol@example.net>", "<bob@example.net>")
    ]
    ledger = [Line(after(1.0), Fate.DELIVERED, ID, (0,)), Line(after(1.0), Fate.DELIVERED, ID, (1,))]
    life = timeline(ID, [each for each in log if each is not None], twice, ledger, ENVELOPE)
    assert shown(life) == [("delivery.delivered", "log+journal+ledger")] * 2


def test_a_removal_that_no_log_has_seen_is_told() -> None:
    """By a command, while no relay ran."""
    life = timeline(
        ID, [], [], [Line(after(5), Fate.REMOVED, ID, (1,)), Line(after(6), Fate.ENDED, "", ())], ENVELOPE
    )
    assert [(each.event, each.fields["recipients"]) for each in life] == [("queue.removed", "<carol@example.net>")]
