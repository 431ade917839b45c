"""The audit: what it finds in order, and that it finds what is missing."""

from datetime import datetime
from pathlib import Path

from relayd.spool.audit import Balance, audit
from relayd.spool.job import Settlement
from relayd.spool.layout import name_of
from relayd.spool.outcome import Kind
from relayd.spool.view import View
from tests.spool.crash import LAYOUT
from tests.spool.exchange import notice, outcome
from tests.spool.hall import LATER, Hall


def balance(hall: Hall) -> Balance:
    """The audit of its spool."""
    view = View(Path(LAYOUT.root), disk=hall.disk)
    return audit(view, LAYOUT, hall.disk.clock(), disk=hall.disk)


def test_every_recipient_is_somewhere() -> None:
    """Delivered, failed without anybody to tell, queued, held, set aside, removed."""
    hall = Hall()
    names = [hall.commit("a@example.test", "b@example.test") for _ in range(4)]
    assert (balance(hall).accepted, balance(hall).queued) == (8, 8)
    jobs = {job.id: job for job in hall.take()}
    first, second, third, fourth = (name.partition(",")[0] for name in names)
    hall.settle(jobs[first], outcome(Kind.DELIVERED, 0, 1))
    hall.settle(jobs[second], outcome(Kind.DELIVERED, 0), outcome(Kind.DEFERRED, 1))
    hall.queue.remove(jobs[third])
    hall.settle(jobs[fourth], outcome(Kind.DEFERRED, 0, 1))
    hall.move(names[3], "cur", "hold")
    found = balance(hall)
    assert (found.accepted, found.delivered, found.removed, found.queued, found.held) == (8, 3, 2, 1, 2)
    assert found.gaps == found.unknown == ()


def test_a_failure_that_was_owed_when_its_message_was_removed_is_told_and_no_gap() -> None:
    """The operator's word is about those who were open; with the notification the books are in order."""
    hall = Hall()
    hall.commit("a@example.test", "b@example.test")
    hall.queue.settle(
        Settlement(hall.job(), (outcome(Kind.FAILED, 0), outcome(Kind.DEFERRED, 1)), LATER, owe=True)
    )
    job = hall.job(LATER.timestamp())
    hall.queue.remove(job, (notice(job, 1),))
    hall.queue.tidy()
    (told,) = hall.take()
    assert (told.envelope.reverse_path, hall.where().get("cur")) == (None, None)
    found = balance(hall)
    assert (found.failed, found.removed, found.queued) == (1, 1, 1)
    assert (found.gaps, found.unknown, found.unentered) == ((), (), 0)


def test_a_message_that_is_gone_without_a_word_is_a_gap() -> None:
    """Its ID and the recipients of whom no line speaks."""
    hall = Hall()
    name = hall.commit("a@example.test", "b@example.test")
    job = hall.job()
    hall.queue.record(job, [outcome(Kind.DELIVERED, 0)])
    hall.disk.unlink(LAYOUT.message("new", name))
    (gap,) = balance(hall).gaps
    assert (gap.id, gap.recipients) == (job.id, (1,))


def test_a_message_of_before_a_power_cut_is_unknown() -> None:
    """The machine went down without an end of the process: the last lines may be missing."""
    hall = Hall()
    name = hall.commit("a@example.test")
    hall.disk.unlink(LAYOUT.message("new", name))
    hall.go_on(10)
    hall.start()
    assert len(balance(hall).gaps) == 1
    hall.disk.boot_id = "another"
    hall.go_on(10)
    hall.start()
    found = balance(hall)
    assert (len(found.gaps), len(found.unknown)) == (0, 1)


def test_a_clean_stop_excuses_nothing() -> None:
    """What was done before it is on the medium, and the ledger says so."""
    hall = Hall()
    name = hall.commit("a@example.test")
    hall.queue.close()
    hall.disk.unlink(LAYOUT.message("new", name))
    hall.disk.boot_id = "another"
    hall.go_on(10)
    hall.start()
    assert len(balance(hall).gaps) == 1


def test_a_message_that_nobody_attempts_and_a_journal_without_one_are_named() -> None:
    """Due for longer than a running relay leaves it alone."""
    hall = Hall()
    name = hall.commit("a@example.test")
    hall.settle(hall.job(), outcome(Kind.DEFERRED, 0))
    hall.go_on(3600 + 600)
    found = balance(hall)
    assert found.overdue == (name.partition(",")[0],)
    hall.disk.unlink(LAYOUT.message("cur", name))
    assert balance(hall).orphan_journals == (name.partition(",")[0],)


def test_a_message_that_the_ledger_does_not_know_is_counted() -> None:
    """Its line was lost, the message was not."""
    hall = Hall()
    name = hall.put("new")
    found = balance(hall)
    assert (found.unentered, found.accepted, found.queued) == (1, 1, 1)
    assert name == name_of(name.partition(",")[0], int(name.partition("=")[2]))


def test_lines_that_a_crash_repeats_count_once() -> None:
    """A second line about the same recipient changes nothing."""
    hall = Hall()
    hall.commit("a@example.test")
    job = hall.job()
    hall.settle(job, outcome(Kind.DELIVERED, 0))
    path = f"{LAYOUT.folder('ledger')}/{datetime.strftime(hall.disk.clock(), '%Y-%m-%d')}"
    fd = hall.disk.open(path)
    content = hall.disk.read(fd, 1 << 20, 0)
    hall.disk.close(fd)
    fd = hall.disk.open_append(path)
    hall.disk.write(fd, content)
    hall.disk.close(fd)
    found = balance(hall)
    assert (found.accepted, found.delivered, found.gaps) == (1, 1, ())
