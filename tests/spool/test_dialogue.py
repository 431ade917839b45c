"""Dialogues in a journal: they are read again, bounded, and never in the way of what must be written."""

import msgspec
import pytest

from relayd.spool.dialogue import Dialogue, latest
from relayd.spool.journal import Journal
from relayd.spool.outcome import Entry, Kind, Outcome
from tests.spool.crash import LAYOUT, memory_disk
from tests.spool.exchange import START, outcome

ID = "01234567890123456"
PLAIN = outcome(Kind.DEFERRED, 0)


def dialogue(characters: int = 10, exchanger: str = "mx.example.net") -> Dialogue:
    """One that is so long."""
    return Dialogue(at=START, exchanger=exchanger, address="192.0.2.1:25", lines=("x" * characters,))


def with_dialogues(*dialogues: Dialogue) -> Outcome:
    """A deferral that has them."""
    return msgspec.structs.replace(PLAIN, transcript=dialogues)


def entries_of(disk: object) -> list[Entry]:
    """What the next one reads."""
    return Journal(disk, LAYOUT, ID).read()  # type: ignore[arg-type]


def test_what_was_said_is_read_again() -> None:
    """In order; an outcome without it has no trace of it."""
    disk = memory_disk()
    told = with_dialogues(dialogue(exchanger="one"), dialogue(exchanger="two"))
    Journal(disk, LAYOUT, ID).append([told, PLAIN])
    assert entries_of(disk) == [told, PLAIN]
    assert disk.take_all(LAYOUT.folder("journal"))[ID].count(b"transcript") == 1


@pytest.mark.parametrize(("lengths", "kept"), [([], 0), ([9000], 1), ([4000, 4000], 2), ([10, 4001, 4000], 1)])
def test_the_last_dialogues_are_kept(lengths: list[int], kept: int) -> None:
    """As many as there is a bound for, and the last in any case."""
    dialogues = [dialogue(length) for length in lengths]
    assert latest(dialogues) == tuple(dialogues[len(dialogues) - kept :])


def test_many_exchangers_do_not_fill_the_disk() -> None:
    """A hostile zone has hundreds of them, each with much to say."""
    disk = memory_disk()
    Journal(disk, LAYOUT, ID).append([with_dialogues(*[dialogue(3000)] * 500)])
    assert len(disk.take_all(LAYOUT.folder("journal"))[ID]) < 10_000


def test_a_journal_stops_growing_by_dialogues() -> None:
    """The outcomes go on."""
    disk = memory_disk()
    told = with_dialogues(dialogue(8000))
    journal = Journal(disk, LAYOUT, ID)
    for _ in range(3):
        journal.append([told] * 250)
    entries = entries_of(disk)
    assert len(entries) == 750
    assert entries[:500] == [told] * 500
    assert entries[500:] == [PLAIN] * 250


def test_without_room_the_outcome_is_written_without_them() -> None:
    """And the reserve is not spent on them."""
    disk = memory_disk()
    journal = Journal(disk, LAYOUT, ID)
    journal.append([PLAIN])
    size = len(disk.take_all(LAYOUT.folder("journal"))[ID])
    disk.capacity = 2 * size + 20
    journal.append([with_dialogues(dialogue(1000))], lambda: pytest.fail("asked for room"))
    assert entries_of(disk) == [PLAIN, PLAIN]
