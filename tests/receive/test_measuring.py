"""Measuring: what a worker tells the counters once a second, and when it ends."""

import time

from tests.receive.live import TRANSACTION, Live

_LONGEST_SECONDS = 20.0


def test_commands_replies_and_waits_for_the_disk_are_told(worker: Live) -> None:
    """At the end at the latest, whatever became of the session."""
    with worker.client() as client:
        client.begins(TRANSACTION)
        client.says(b"0123456789\r\n.\r\nFROB\r\nQUIT\r\n")
        client.hears_all()
    worker.retire(5.0)
    assert worker.status() == 0
    commands, replies = worker.slot.commands(), worker.slot.replies()
    assert {verb for verb, count in commands.items() if count} == {"HELO", "MAIL", "RCPT", "DATA", "other", "QUIT"}
    assert set(commands.values()) == {0, 1}
    said = {code: count for code, count in replies.items() if count}
    assert said == {"220": 1, "250": 4, "354": 1, "500": 1, "221": 1}
    assert sum(worker.slot.histogram("commit_seconds").buckets) == 1
    # The message's file and the folder it is in, in one wait where the kernel can, and the ledger's, which is new.
    assert sum(worker.slot.histogram("fsync_seconds").buckets) in (2, 3)


def test_they_are_told_while_the_session_goes_on(worker: Live) -> None:
    """A session of hours is no hole in the figures."""
    with worker.client() as client:
        client.says(b"NOOP\r\n")
        client.hears()
        until = time.monotonic() + _LONGEST_SECONDS
        while not worker.slot.commands()["NOOP"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert worker.slot.replies()["220"] == 1
