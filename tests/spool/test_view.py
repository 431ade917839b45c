"""The view: what the spool has, for whoever asks, while everything in it moves."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from relayd.spool.envelope import pack
from relayd.spool.errors import NoSuchMessage, WrongSpool
from relayd.spool.layout import name_of
from relayd.spool.outcome import Kind, Scheduled
from relayd.spool.view import Item, Summary, View
from tests.spool.conftest import RealSpool
from tests.spool.crash import LAYOUT
from tests.spool.exchange import START, envelope, outcome
from tests.spool.hall import ID, LATER, MAIL, NOW, OTHER, Hall, message
from tests.spool.memory_disk import MemoryDisk

DEFERRED = outcome(Kind.DEFERRED, 1)


def view_of(hall: Hall) -> View:
    """A view of the hall's spool."""
    return View(Path(LAYOUT.root), disk=hall.disk)


def items(hall: Hall) -> list[Item]:
    """What it shows."""
    return list(view_of(hall).items(START))


def test_a_message_is_shown_with_what_came_of_it() -> None:
    """Open recipients, attempts, the next date, the last outcome."""
    hall = Hall()
    name = hall.commit("one", "two", "three")
    hall.settle(hall.job(), outcome(Kind.DELIVERED, 0, 2), DEFERRED)
    (item,) = items(hall)
    assert item == Item(
        id=name.partition(",")[0],
        state="cur",
        name=name,
        size=len(message("one", "two", "three")),
        arrived=START,
        reverse_path="originator@example.org",
        open=1,
        total=3,
        domains=("example.net",),
        attempts=1,
        next=LATER,
        last=DEFERRED,
    )
    assert item.age(START + timedelta(hours=1)) == 3600


@pytest.mark.parametrize(
    ("state", "due"), [("new", START), ("cur", START + timedelta(days=1)), ("hold", None), ("failed", None)]
)
def test_what_is_next_depends_on_the_folder(state: str, due: object) -> None:
    """In new/ it is now, in cur/ the file's time, elsewhere nothing."""
    hall = Hall()
    hall.put(state, mtime=NOW + 86_400)
    (item,) = items(hall)
    assert (item.state, item.next, item.reason) == (state, due, "")


def test_messages_are_shown_by_arrival() -> None:
    """Whatever folder they are in."""
    hall = Hall()
    for state, message_id in (("hold", OTHER), ("new", ID)):
        hall.put(state, message_id)
    assert [(item.id, item.state) for item in items(hall)] == [(ID, "new"), (OTHER, "hold")]


def test_what_is_no_message_is_shown_with_the_reason(real_spool: RealSpool) -> None:
    """Nothing is waited for, and nothing raises."""
    layout = real_spool.layout
    os.mkfifo(layout.message("new", name_of(ID, 5)))
    os.mkdir(layout.message("cur", os.fsdecode(b"\xff")))
    os.symlink("/etc/passwd", layout.message("hold", "link"))
    Path(layout.message("failed", name_of(OTHER, 3))).write_bytes(b"xyz")
    Path(layout.message("failed", ".hidden")).touch()
    found = {(item.state, item.id): item.reason for item in View(Path(layout.root)).items(START)}
    assert found == {
        ("new", ID): "it is a FIFO",
        ("cur", "\\xff"): "it has no name of ours",
        ("hold", "link"): "it has no name of ours",
        ("failed", OTHER): "it does not begin with the line 'relayd 1'",
    }


def test_an_unreadable_journal_is_a_reason() -> None:
    """The message is shown all the same."""
    hall = Hall()
    hall.put("new")
    hall.disk.put(LAYOUT.journal(ID), b"nonsense\n")
    (item,) = items(hall)
    assert item.reason.startswith("line 1 of its journal cannot be read")
    details = view_of(hall).details(ID, START)
    assert (details.item, details.entries) == (item, ())


def test_what_the_disk_does_not_give_is_a_reason() -> None:
    """And no exception."""
    hall = Hall()
    hall.put("new")

    def fault(operation: str, path: str) -> None:
        if operation == "read" and "/new/" in path:
            raise OSError(5, "Input/output error")

    hall.disk.fault = fault
    assert [item.reason for item in items(hall)] == ["it cannot be read now: Input/output error"]


def test_a_time_beyond_all_calendars_is_shown() -> None:
    """A file can have any."""
    hall = Hall()
    hall.put("cur", mtime=1e15)
    hall.put("cur", OTHER, mtime=-1e15)
    assert [item.next is not None for item in items(hall)] == [True, True]


class Moving(MemoryDisk):
    """A disk on which somebody moves a message when it is about to be looked at."""

    to: str | None = None

    def open(self, path: str) -> int:
        if self.to is not None and OTHER in path:
            to, self.to = self.to, None
            if to:
                self.rename(path, LAYOUT.message(to, path.rpartition("/")[2]))
            else:
                self.unlink(path)
        return super().open(path)


@pytest.mark.parametrize("target", ["cur", "hold", "failed"])
def test_a_message_that_moves_meanwhile_is_shown_where_it_is(target: str) -> None:
    """Once."""
    disk = Moving()
    LAYOUT.create(disk=disk)
    hall = Hall(disk)
    hall.put("new")
    hall.put("new", OTHER)
    disk.to = target
    assert [(item.id, item.state) for item in items(hall)] == [(ID, "new"), (OTHER, target)]
    disk.to = "new" if target != "new" else "cur"
    assert view_of(hall).details(OTHER, START).item.state == "new"


def test_a_message_that_ends_meanwhile_is_left_out() -> None:
    """It is delivered."""
    disk = Moving()
    LAYOUT.create(disk=disk)
    hall = Hall(disk)
    hall.put("new")
    hall.put("new", OTHER)
    disk.to = ""
    assert [item.id for item in items(hall)] == [ID]
    with pytest.raises(NoSuchMessage):
        view_of(hall).details(OTHER, START)


def test_one_message_is_shown_with_all_that_is_known() -> None:
    """Envelope, journal, header and mail data."""
    hall = Hall()
    name = hall.commit("one", "two")
    hall.settle(hall.job(), outcome(Kind.DELIVERED, 0), DEFERRED)
    view = view_of(hall)
    details = view.details(name.partition(",")[0], START)
    assert details.envelope == envelope("one", "two")
    assert details.entries == (
        outcome(Kind.DELIVERED, 0),
        DEFERRED,
        Scheduled(at=START, attempt=1, next=LATER),
    )
    assert view.header(details) == b"Subject: hello\r\n"
    assert b"".join(view.mail_data(details)) == MAIL


def test_a_large_message_is_shown_in_portions() -> None:
    """Its header without the rest."""
    hall = Hall()
    mail_data = MAIL + b"x" * 1_000_000
    hall.put("new", content=message(mail_data=mail_data))
    view = view_of(hall)
    details = view.details(ID, START)
    hall.disk.calls.clear()
    assert view.header(details) == b"Subject: hello\r\n"
    assert sum(operation == "read" for operation, _ in hall.disk.calls) == 1
    assert len(next(view.mail_data(details))) < len(mail_data)
    assert b"".join(view.mail_data(details)) == mail_data


@pytest.mark.parametrize("mail_data", [b"", b"Subject: x\r\n", b"x" * 100, b"\r\n\r\nbody"])
def test_any_mail_data_has_a_header(mail_data: bytes) -> None:
    """Where there is no end of it, all of it, bounded."""
    hall = Hall()
    hall.put("new", content=message(mail_data=mail_data))
    details = view_of(hall).details(ID, START)
    shown = b"\r\n" if mail_data.endswith(b"body") else mail_data[:50]
    assert view_of(hall).header(details, most=50) == shown


@pytest.mark.parametrize("message_id", ["", "x", ID[:-1], ID + ",S=", "../new", "*", ","])
def test_an_unknown_id_is_a_clear_error(message_id: str) -> None:
    """And nothing else is taken for it."""
    hall = Hall()
    hall.put("new", OTHER)
    with pytest.raises(NoSuchMessage, match="no message in the spool has the ID"):
        view_of(hall).details(message_id, START)


def test_a_stranger_is_found_by_the_name_it_is_shown_by() -> None:
    """With the reason."""
    hall = Hall()
    hall.disk.put(LAYOUT.message("failed", "a\udcffb"), b"x")
    (item,) = items(hall)
    assert view_of(hall).details(item.id, START).item == item


def test_the_sums_are_of_names_and_times_alone() -> None:
    """No file is opened."""
    hall = Hall()
    hall.put("new", mtime=NOW - 50)
    hall.put("cur", "0" * 16 + "1", mtime=NOW - 100)
    hall.put("cur", "0" * 16 + "2", mtime=NOW + 100)
    hall.put("hold", "0" * 16 + "3")
    hall.disk.put(LAYOUT.message("failed", "stranger"), b"")
    hall.disk.put(LAYOUT.message("new", ".hidden"), b"")
    hall.disk.calls.clear()
    summary = view_of(hall).summary(NOW)
    assert summary == Summary(new=1, cur=2, hold=1, failed=1, due=2, oldest_due=NOW - 100)
    assert [path for operation, path in hall.disk.calls if operation == "open"] == [f"{LAYOUT.root}/format"]


def test_a_message_in_new_is_due_whatever_its_time() -> None:
    """It may have been moved there before its date."""
    hall = Hall()
    hall.put("new", mtime=NOW + 1000)
    assert view_of(hall).summary(NOW).oldest_due == NOW
    assert view_of(Hall()).summary(NOW) == Summary(new=0, cur=0, hold=0, failed=0, due=0, oldest_due=None)


def test_where_there_is_no_spool_yet_there_is_no_file(tmp_path: Path) -> None:
    """As before the first start."""
    for directory in (tmp_path, tmp_path / "missing"):
        view = View(directory)
        with pytest.raises(FileNotFoundError):
            view.summary(NOW)
        with pytest.raises(FileNotFoundError):
            list(view.items(START))
        with pytest.raises(FileNotFoundError):
            view.details(ID, START)


def test_a_spool_of_another_version_is_a_clear_error(real_spool: RealSpool) -> None:
    """Its files may mean something else."""
    Path(f"{real_spool.layout.root}/format").write_text("relayd spool 2\n")
    with pytest.raises(WrongSpool, match="is in format 2"):
        View(Path(real_spool.layout.root)).summary(NOW)


def test_looking_changes_nothing(real_spool: RealSpool) -> None:
    """No time of a file, no name."""
    Path(real_spool.layout.message("new", name_of(ID, len(message())))).write_bytes(message())
    Path(real_spool.layout.journal(ID)).write_bytes(b"")

    def state() -> list[tuple[str, int, int]]:
        root = Path(real_spool.layout.root)
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*"))

    before = state()
    view = View(Path(real_spool.layout.root))
    view.summary(NOW)
    assert len(list(view.items(START))) == 1
    assert b"".join(view.mail_data(view.details(ID, START))) == MAIL
    assert state() == before
    assert pack(envelope()) in message()
