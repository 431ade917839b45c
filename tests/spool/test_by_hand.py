"""People move, touch and copy files at any time: that is part of the interface."""

import errno

import pytest

from relayd.base import events
from relayd.spool.errors import NoSuchMessage, NotSound
from relayd.spool.job import Settlement
from relayd.spool.outcome import Kind
from tests.spool.crash import LAYOUT, LONGEST
from tests.spool.exchange import notice, outcome
from tests.spool.hall import DAY, ID, LATER, MAIL, NOW, OTHER, Hall, message

DELIVERED = outcome(Kind.DELIVERED, 0)
DEFERRED = outcome(Kind.DEFERRED, 0)


# Between attempts.


def test_a_message_moved_to_new_is_due_now() -> None:
    """`mv cur/X new/` is what flush does."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    assert hall.take() == []
    hall.move(name, "cur", "new")
    assert hall.job().id == ID


def test_a_message_moved_to_hold_is_not_attempted() -> None:
    """Not when its time comes, and not by a process that starts."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    assert hall.take() == []
    hall.move(name, "cur", "hold")
    hall.go_on(2000)
    assert hall.take(NOW + 2000) == []
    hall.start()
    assert hall.take(NOW + 2000) == []
    assert hall.found.held == 1
    hall.move(name, "hold", "cur")
    assert hall.job(NOW + 2000).id == ID


@pytest.mark.parametrize("due", [NOW - 5, NOW + 500, NOW + 2000])
def test_a_message_that_is_touched_has_another_date(due: float) -> None:
    """Earlier or later; a look at the files finds it."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    assert hall.take() == []
    hall.disk.touch(LAYOUT.message("cur", name), due)
    hall.look()
    assert hall.queue.next_due() == due
    assert hall.take(due - 1) == []
    assert hall.job(due).id == ID


def test_a_message_that_is_touched_after_the_last_look_waits() -> None:
    """Although it was due when it was seen."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 10)
    hall.look()
    hall.go_on(20)
    hall.disk.touch(LAYOUT.message("cur", name), NOW + 100)
    assert hall.queue.take(10, NOW + 20) == []
    assert hall.queue.next_due() == NOW + 100
    assert [job.id for job in hall.queue.take(10, NOW + 100)] == [ID]


def test_a_date_in_the_far_future_is_brought_near() -> None:
    """A copy, a restore or a clock puts nothing off for ever; the file shows the date that counts."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000 * DAY)
    assert hall.take() == []
    assert hall.queue.next_due() == NOW + LONGEST
    assert hall.disk.lstat(LAYOUT.message("cur", name)).st_mtime == NOW + LONGEST
    hall.go_on(DAY / 2)
    hall.start()
    assert hall.queue.next_due() == NOW + LONGEST
    hall.go_on(DAY / 2)
    assert hall.job(NOW + LONGEST).id == ID


@pytest.mark.parametrize("mtime", [0.0, -1e9, 1.5, NOW])
def test_a_date_in_the_past_is_now(mtime: float) -> None:
    """However long ago."""
    hall = Hall()
    hall.put("cur", mtime=mtime)
    assert hall.job().id == ID


def test_a_message_with_several_names_is_warned_of() -> None:
    """A copy elsewhere shares the mtime, which is the schedule."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW)
    hall.disk.folders[LAYOUT.folder("cur")].names[name].links = 3
    assert hall.job().id == ID
    assert events.MessageLinked(id=ID, state="cur", links=3) in hall.told


def test_hidden_files_are_left_alone() -> None:
    """They are of a program at work: a copy that is not complete, an editor."""
    hall = Hall()
    for state in ("new", "cur"):
        hall.disk.put(LAYOUT.message(state, ".x"), b"")
    assert hall.take() == []
    assert hall.where() == {"new": [".x"], "cur": [".x"]}


# One ID twice.


@pytest.mark.parametrize("has_started", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "counts"),
    [
        ("new", "cur", "cur"),
        ("new", "hold", "hold"),
        ("new", "failed", "failed"),
        ("cur", "hold", "hold"),
        ("cur", "failed", "failed"),
    ],
)
def test_of_two_files_with_one_id_one_counts(first: str, second: str, counts: str, has_started: bool) -> None:
    """By the folder; the other one goes to failed/, and nothing is sent twice."""
    hall = Hall()
    if has_started:
        hall.start()
    name = hall.put(first, mtime=NOW)
    hall.copy(name, first, second)
    if not has_started:
        hall.start()
    for _ in range(3):
        for job in hall.take():
            hall.settle(job, DELIVERED)
    where = hall.where()
    if counts == "cur":
        assert where == {"failed": [name]}
    elif counts == "failed":
        assert where == {"failed": [name, f"{name}.1"]}
    else:
        assert where == {counts: [name], "failed": [name]}
    assert hall.set_aside()[name[:17]].startswith(f"{counts}/ has a message of its ID, which counts")


@pytest.mark.parametrize(
    ("first", "second", "has_started"),
    [
        ("cur", "new", True),
        ("cur", "new", False),
        ("new", "new", True),
        ("new", "new", False),
        ("hold", "cur", False),
    ],
)
def test_of_two_files_with_one_id_and_other_sizes_one_counts(first: str, second: str, has_started: bool) -> None:
    """By the folder too, where a start or a look finds both."""
    hall = Hall()
    one = hall.put(first, mtime=NOW)
    if has_started:
        hall.look()
    other = hall.put(second, content=message("another", "two"), mtime=NOW)
    if not has_started:
        hall.start()
    hall.look()
    failed = hall.where()["failed"]
    assert len(failed) == 1
    assert failed[0] in (one, other)
    if first != second:
        assert failed == [other]
    jobs = hall.take()
    assert len(jobs) == (0 if first == "hold" else 1)


def test_an_edited_message_under_its_new_name_is_taken() -> None:
    """The old file is gone, so there is one."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    hall.look()
    hall.disk.unlink(LAYOUT.message("cur", name))
    hall.put("new", content=message("edited", "two"))
    assert len(hall.job().open) == 2
    assert hall.set_aside() == {}


def test_a_second_file_of_an_id_in_flight_goes_to_failed() -> None:
    """It is another message, or an edited one."""
    hall = Hall()
    hall.put("new")
    job = hall.job()
    other = hall.put("cur", content=message("edited"))
    assert hall.take() == []
    assert hall.set_aside() == {other[:17]: "another file of its ID is being delivered"}
    assert hall.settle(job, DELIVERED)


# In the middle of an attempt.


@pytest.mark.parametrize("target", ["new", "cur", "hold", "failed"])
@pytest.mark.parametrize("source", ["new", "cur"])
def test_a_message_moved_during_its_attempt_and_delivered_is_gone(source: str, target: str) -> None:
    """Wherever it is; and it is not sent again by whoever starts."""
    hall = Hall()
    name = hall.put(source, mtime=NOW)
    job = hall.job()
    hall.move(name, source, target)
    assert hall.take() == []
    assert b"".join(hall.queue.read(job)) == MAIL
    assert hall.settle(job, DELIVERED)
    hall.queue.tidy()
    assert (hall.where(), hall.disk.take_all(LAYOUT.folder("journal"))) == ({}, {})
    hall.start()
    assert hall.take(NOW + DAY) == []


@pytest.mark.parametrize("target", ["new", "cur", "hold", "failed"])
@pytest.mark.parametrize("source", ["new", "cur"])
def test_a_message_moved_during_its_attempt_and_deferred_stays_where_it_was_put(source: str, target: str) -> None:
    """In new/ it is due at once, in cur/ at the next date, in hold/ never; the journal knows of the attempt."""
    hall = Hall()
    name = hall.put(source, mtime=NOW)
    job = hall.job()
    hall.move(name, source, target)
    assert hall.take() == []
    assert not hall.settle(job, DEFERRED)
    is_moved = source != target
    assert hall.where() == {target if is_moved else "cur": [name]}
    assert hall.journal(name)[0] == DEFERRED
    now = [job.attempt for job in hall.take()]
    assert now == ([2] if target == "new" and is_moved else [])
    if target == "cur":
        assert hall.job(LATER.timestamp()).attempt == 2


def test_a_message_taken_away_during_its_attempt_leaves_word_that_it_was_delivered() -> None:
    """Should somebody bring it back, nobody gets it twice."""
    hall = Hall()
    name = hall.put("new")
    job = hall.job()
    hall.disk.unlink(LAYOUT.message("new", name))
    assert hall.settle(job, DELIVERED)
    hall.queue.tidy()
    assert hall.journal(name) == [DELIVERED]
    hall.put("new")
    job = hall.job()
    assert job.open == ()
    assert hall.settle(job)
    hall.queue.tidy()
    assert (hall.where(), hall.journal(name)) == ({}, [])


def test_a_message_taken_away_during_its_attempt_and_deferred_is_gone() -> None:
    """There is nothing to try again."""
    hall = Hall()
    name = hall.put("new")
    job = hall.job()
    hall.disk.unlink(LAYOUT.message("new", name))
    assert not hall.settle(job, DEFERRED)
    assert (hall.where(), hall.queue.next_due()) == ({}, None)


def test_a_message_moved_while_it_is_read_is_read_on() -> None:
    """From wherever it is; one that is gone says so."""
    hall = Hall()
    content = message(mail_data=b"x" * 300_000)
    name = hall.put("new", content=content)
    job = hall.job()
    assert hall.queue.cached(job) is None
    hall.move(name, "new", "hold")
    assert b"".join(hall.queue.read(job)) == b"x" * 300_000
    hall.disk.unlink(LAYOUT.message("hold", name))
    with pytest.raises(NoSuchMessage):
        next(hall.queue.read(job))


def test_a_message_that_shrinks_while_it_is_read_is_not_sound() -> None:
    """Half of a mail is not sent for the whole."""
    hall = Hall()
    name = hall.put("new", content=message(mail_data=b"x" * 600_000))
    job = hall.job()
    chunks = hall.queue.read(job)
    next(chunks)
    node = hall.disk.folders[LAYOUT.folder("new")].names[name]
    del node.content[400_000:]
    with pytest.raises(NotSound, match="shorter"):
        list(chunks)
    with pytest.raises(NotSound, match="it has 400000 octets"):
        next(hall.queue.read(job))


def test_a_cleared_tmp_does_not_lose_a_notification() -> None:
    """It is written anew when the step is tried again."""
    hall = Hall()
    hall.put("new")
    job = hall.job()
    rename = hall.disk.rename

    def rename_after_clearing(source: str, target: str) -> None:
        if source.startswith(LAYOUT.folder("tmp")):
            hall.disk.rename = rename  # type: ignore[method-assign]
            hall.disk.unlink(source)
        rename(source, target)

    hall.disk.rename = rename_after_clearing  # type: ignore[method-assign]
    failure = outcome(Kind.FAILED, 0)
    with pytest.raises(Exception, match="notification"):
        hall.settle(job, failure, notices=(notice(job, 1),))
    assert hall.settle(job, failure, notices=(notice(job, 1),))
    assert b"".join(hall.queue.read(hall.job())) == notice(job, 1).mail_data


def test_a_journal_taken_away_during_an_attempt_is_made_again() -> None:
    """With what comes of the attempt."""
    hall = Hall()
    name = hall.commit("one", "two")
    job = hall.job()
    hall.queue.record(job, [DELIVERED])
    hall.disk.unlink(LAYOUT.journal(job.id))
    hall.settle(job, outcome(Kind.DEFERRED, 1))
    assert hall.journal(name)[0] == outcome(Kind.DEFERRED, 1)


def test_two_messages_are_not_mixed_up() -> None:
    """Each has its own journal and place."""
    hall = Hall()
    one, other = hall.put("new"), hall.put("new", OTHER)
    first, second = sorted(hall.take(), key=lambda job: job.id)
    hall.settle(second, DEFERRED)
    hall.settle(first, DELIVERED)
    assert hall.where() == {"cur": [other]}
    assert (hall.journal(one), hall.journal(other)[0]) == ([], DEFERRED)


def test_an_operator_claims_a_message_wherever_somebody_has_put_it() -> None:
    """Also when the schedule has not heard of it."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    hall.look()
    hall.move(name, "cur", "hold")
    job = hall.queue.claim(ID)
    assert job is not None
    hall.queue.put_back(job)
    assert hall.where() == {"hold": [name]}


def test_a_message_that_cannot_be_claimed_for_its_operator_keeps_its_place() -> None:
    """The disk did not give it; its date comes all the same."""
    hall = Hall()
    hall.put("cur", mtime=NOW + 1000)
    hall.look()
    calm = hall.have_fail("open", errno.EIO, ID)
    with pytest.raises(OSError, match="Input/output error"):
        hall.queue.claim(ID)
    hall.disk.fault = calm
    assert hall.queue.next_due() == NOW + 1000


# What is told of it.


def told(hall: Hall) -> list[tuple[str, str, str]]:
    """Which messages were moved, from where and to where; removed ones went to nowhere."""
    return [
        (event.id, event.was, event.now) if isinstance(event, events.QueueMoved) else (event.id, "", "")
        for event in hall.told
        if isinstance(event, events.QueueMoved | events.MessageRemoved)
    ]


def test_moves_by_hand_are_told_once() -> None:
    """Flush, hold, release and back, each with the folders; what was there at the start is no move."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    hall.put("hold", OTHER)
    hall.start()
    steps = [("cur", "hold"), ("hold", "cur"), ("cur", "new"), ("new", "cur"), ("cur", "hold"), ("hold", "new")]
    for was, now in steps:
        hall.look()
        hall.go_on(10)
        hall.move(name, was, now)
    hall.look()
    hall.go_on(10)
    hall.look()
    assert told(hall) == [(ID, was, now) for was, now in steps]


def test_a_message_comes_back_from_where_it_was_held() -> None:
    """Also when cur/, from where it went, is not read in between: it was in one place after the other."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    hall.look()
    hall.go_on(10)
    hall.move(name, "cur", "hold")
    hall.queue.scan("new")
    hall.go_on(10)
    hall.move(name, "hold", "new")
    hall.queue.scan("new")
    assert told(hall) == [(ID, "cur", "hold"), (ID, "hold", "new")]


def test_what_the_relay_moves_itself_is_no_move_by_hand() -> None:
    """A deferral, its next attempt, what is set aside for a person, and the end."""
    hall = Hall()
    hall.commit("a@example.net")
    hall.settle(hall.job(), DEFERRED)
    hall.look()
    job = hall.job(LATER.timestamp())
    hall.queue.settle(Settlement(job, (DEFERRED,), LATER, hold=True))
    hall.go_on(10)
    hall.look()
    claimed = hall.queue.claim(job.id)
    assert claimed is not None
    hall.settle(claimed, DELIVERED)
    hall.go_on(10)
    hall.look()
    assert hall.where() == {}
    assert told(hall) == []


def test_a_message_that_is_held_in_the_middle_of_its_attempt_is_told_of() -> None:
    """And its delivery afterwards takes it away without a word beside its own."""
    hall = Hall()
    name = hall.put("new")
    job = hall.job()
    hall.go_on(10)
    hall.move(name, "new", "hold")
    hall.look()
    assert told(hall) == [(ID, "new", "hold")]
    hall.settle(job, DELIVERED)
    hall.go_on(10)
    hall.look()
    assert hall.where() == {}
    assert told(hall) == [(ID, "new", "hold")]


@pytest.mark.parametrize("state", ["cur", "hold"])
def test_a_message_whose_file_was_taken_away_is_told_of(state: str) -> None:
    """Nobody else will ever say what became of it."""
    hall = Hall()
    name = hall.put(state, mtime=NOW + 1000)
    hall.start()
    hall.look()
    hall.go_on(10)
    hall.disk.unlink(LAYOUT.message(state, name))
    hall.look()
    hall.go_on(10)
    hall.look()
    assert told(hall) == [(ID, "", "")]


def test_a_flush_is_told_of_also_when_its_date_comes_first() -> None:
    """The message is looked for in cur/ before new/ is read."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 10)
    hall.look()
    hall.go_on(20)
    hall.move(name, "cur", "new")
    assert hall.queue.take(10, NOW + 20) == []
    hall.look()
    assert told(hall) == [(ID, "cur", "new")]
    assert [job.id for job in hall.queue.take(10, NOW + 20)] == [ID]


def test_a_waiting_message_that_is_put_into_failed_is_told_of() -> None:
    """When it is looked for in cur/."""
    hall = Hall()
    name = hall.put("cur", mtime=NOW + 1000)
    hall.look()
    hall.go_on(10)
    hall.move(name, "cur", "failed")
    hall.look()
    assert told(hall) == [(ID, "cur", "failed")]


def test_word_of_a_message_that_comes_late_is_not_taken_for_a_removal() -> None:
    """The folder was quicker, and the message is delivered."""
    hall = Hall()
    name = hall.commit("a@example.net")
    hall.settle(hall.job(), DELIVERED)
    hall.queue.hear([name])
    assert hall.take() == []
    second = hall.commit("a@example.net")
    hall.settle(hall.job(), DEFERRED)
    hall.queue.hear([second])
    assert hall.take() == []
    assert told(hall) == []


def test_a_folder_that_cannot_be_read_is_no_reason_to_tell_anything() -> None:
    """What is in hold/ is in hold/ still."""
    hall = Hall()
    hall.put("hold")
    hall.start()
    calm = hall.have_fail("names", errno.EIO, "/hold")
    hall.go_on(10)
    hall.put("hold", OTHER)
    hall.look()
    assert told(hall) == []
    hall.disk.fault = calm
    hall.look()
    assert told(hall) == [(OTHER, "", "hold")]
