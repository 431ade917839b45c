"""A notification that a journal promises and a disk holds back: its message waits for it."""

import errno
import os

import pytest

from relayd.base import events
from relayd.spool.errors import SpoolError
from relayd.spool.ids import derived
from relayd.spool.outcome import Kind
from tests.spool.crash import LAYOUT
from tests.spool.exchange import notice, outcome
from tests.spool.hall import ID, NOW, Hall


def test_a_message_does_not_end_before_the_notification_that_its_journal_promises() -> None:
    """With the message its journal would go, and the next start would take the notification for a left-over."""
    hall = Hall()
    hall.put("new")
    job = hall.job()
    calm = hall.disk.fault

    def fault(operation: str, path: str) -> None:
        if operation == "rename" and "/tmp/" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    hall.disk.fault = fault
    with pytest.raises(SpoolError):
        hall.settle(job, outcome(Kind.FAILED, 0), notices=(notice(job, 1),))
    hall.start()
    assert hall.found.notices == 0
    assert hall.take() == []
    assert len(hall.troubles()) == 2
    hall.disk.fault = calm
    later = NOW + 100
    hall.go_on(100)
    (original,) = hall.take(later)
    # Whoever was to tell of it never came to that.
    (told,) = [event for event in hall.told if isinstance(event, events.DsnQueued)]
    assert (told.id, told.about, told.recipient) == (derived(ID, 1), ID, "<originator@example.net>")
    assert (original.open, original.owed) == ((), ())
    assert hall.settle(original)
    hall.queue.tidy()
    hall.start()
    (notification,) = hall.take(later)
    assert notification.envelope.reverse_path is None


@pytest.mark.parametrize("operation", ["rename", "sync_folder", "sync"])
def test_a_claim_that_is_given_up_half_told_leaves_its_notification_to_the_next(operation: str) -> None:
    """As an operator's order does that the disk refuses: the journal may speak of it already, and is right."""
    hall = Hall()
    hall.put("hold")
    calm = hall.disk.fault

    def fault(each: str, path: str) -> None:
        if each == operation and path.startswith(LAYOUT.folder("tmp")):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    job = hall.queue.claim(ID)
    assert job is not None
    hall.disk.fault = fault
    with pytest.raises(SpoolError):
        hall.settle(job, outcome(Kind.FAILED, 0), notices=(notice(job, 1),))
    hall.queue.put_back(job)
    hall.disk.fault = calm
    again = hall.queue.claim(ID)
    assert again is not None
    hall.queue.remove(again, tuple(notice(again, each.attempt) for each in again.owed))
    hall.queue.tidy()
    hall.start()
    assert set(hall.where()) == ({"new"} if operation == "rename" else set())
