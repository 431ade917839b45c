"""What the master says of itself and its children, to people, the counters and the service manager."""

import socket
from pathlib import Path

import pytest

from relayd.base.counters import Board, Slot
from relayd.base.events import Event
from relayd.base.sections import Health
from relayd.master.children import Child
from relayd.master.condition import Condition, Conditions, missing
from relayd.master.notify import Notify
from relayd.master.places import Place
from relayd.master.vigil import Vigil

LIMITS = Health(overdue=300.0, window=600.0, failures=3, restarts=3)


@pytest.fixture
def board() -> Board:
    """The master's slot and a few more."""
    return Board(4)


def child(board: Board, role: str, *, is_ready: bool = True, is_single: bool = False, pid: int = 0) -> Child:
    """One that works, if it is ready."""
    made = Child(role, lambda channel: 0, board.slot(1), is_single=is_single, pid=pid)
    made.place = Place(1, None if is_single else 0)
    made.is_ready = is_ready
    return made


def test_a_role_is_missing_when_nobody_fills_it(board: Board) -> None:
    """A worker that retires has given its clients up; a delivery process that retires still delivers."""
    ready, other = child(board, "worker 1"), child(board, "worker 1", is_ready=False)
    assert missing([ready], [ready]) == []
    assert missing([other], [ready, other]) == []
    ready.retire_by = 1.0
    assert missing([other], [ready, other]) == [other]
    old, new = child(board, "delivery", is_single=True), child(board, "delivery", is_ready=False, is_single=True)
    old.retire_by = 1.0
    assert missing([new], [old, new]) == []
    assert missing([new], [new]) == [new]


def test_the_words_say_why_and_when_it_comes_again(board: Board) -> None:
    """The first death, a crash loop, a start."""
    conditions = Conditions(0.0, [board.slot(0)])
    dead = child(board, "worker 2", is_ready=False)
    dead.due, dead.deaths = 11.0, 1
    conditions.died(10.0, dead.role, "signal SIGSEGV")
    assert conditions.now(10.5, LIMITS, [dead], [], []).missing == (
        "worker 2 is missing: it died (signal SIGSEGV) and starts again in 1s",
    )
    dead.due, dead.deaths = 40.0, 6
    assert conditions.now(10.5, LIMITS, [dead], [], []).missing == (
        "worker 2 is missing: it died 6 times in a row (signal SIGSEGV) and starts again in 30s",
    )
    dead.due, dead.pid = None, 77
    assert conditions.now(41.0, LIMITS, [dead], [dead], []).missing == (
        "worker 2 is missing: it died 6 times in a row (signal SIGSEGV) and is starting",
    )
    assert conditions.now(41.0, LIMITS, [child(board, "worker 3", is_ready=False)], [], []).missing == (
        "worker 3 is missing",
    )


def test_the_numbers_stand_in_the_slot_too(board: Board) -> None:
    """For who may read the counters only; what was counted before is left out."""
    slots = [board.slot(index) for index in range(board.slots)]
    # Those of before an upgrade: they are no news.
    slots[0].add("delivered", 100)
    slots[0].add("attempts_failed", 100)
    conditions = Conditions(0.0, slots)
    slots[1].add("attempts_failed", 1)
    slots[3].add("attempts_failed", 5)
    conditions.died(1.0, "worker 1", "exit status 1")
    said = conditions.now(9.0, LIMITS, [child(board, "worker 1", is_ready=False)], [], ["delivery hangs"])
    assert said == Condition(said.missing, ("delivery hangs",), 9.0, 1, 6, 6, 9.0)
    names = ("heartbeat", "missing", "recent_restarts", "recent_failures", "failures", "failing_seconds")
    assert [board.slot(0).get(name) for name in names] == [9000, 1, 1, 6, 6, 9]


def vigil(slot: Slot, tmp_path: Path, log: list[Event]) -> tuple[Vigil, socket.socket]:
    """One with a service manager that wants to hear from it within 20 s."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.setblocking(False)
    notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"}, 42)
    return Vigil(0.0, [slot], log.append, notify), manager


def heard(manager: socket.socket) -> list[bytes]:
    """All that was said."""
    found = []
    try:
        while True:
            found.append(manager.recv(4096))
    except BlockingIOError:
        return found


def test_the_service_manager_hears_the_state_and_that_all_goes_on(board: Board, tmp_path: Path) -> None:
    """A status when it changes, WATCHDOG at half of its time."""
    looking, manager = vigil(board.slot(0), tmp_path, [])
    both = [child(board, "worker 1"), child(board, "delivery", is_single=True)]
    looking.ready()
    with manager:
        heard(manager)
        for now in range(41):
            looking.look(float(now), LIMITS, both, both)
        assert heard(manager) == [b"STATUS=all is well", *[b"WATCHDOG=1"] * 5]
        both[1].is_ready = False
        looking.look(45.0, LIMITS, both, both)
        assert heard(manager) == [b"STATUS=delivery is missing"]


@pytest.mark.parametrize("role", ["worker 1", "delivery"])
def test_without_workers_or_delivery_the_watchdog_is_let_bite_after_two_minutes(
    role: str, board: Board, tmp_path: Path
) -> None:
    """One that comes back is in time; one worker of two is enough."""
    looking, manager = vigil(board.slot(0), tmp_path, [])
    both = [child(board, "worker 1"), child(board, "delivery", is_single=True)]
    away = next(each for each in both if each.role == role)
    with manager:
        away.is_ready = False
        assert beats(looking, manager, range(0, 301, 5), both) == 12
        away.is_ready = True
        assert beats(looking, manager, range(310, 311), both) == 1
        spare = [child(board, "worker 2", is_ready=False), *both]
        assert beats(looking, manager, range(320, 621, 5), spare) == 31


def test_a_start_that_takes_long_is_waited_for(board: Board, tmp_path: Path) -> None:
    """Until all is ready, each look asks for more time: a large spool is read from a slow disk."""
    looking, manager = vigil(board.slot(0), tmp_path, [])
    longer = b"EXTEND_TIMEOUT_USEC=30000000"
    with manager:
        looking.look(0.0, LIMITS, [], [])
        looking.look(5.0, LIMITS, [], [])
        assert heard(manager).count(longer) == 2
        looking.ready()
        looking.look(10.0, LIMITS, [], [])
        assert longer not in heard(manager)


def beats(looking: Vigil, manager: socket.socket, instants: range, children: list[Child]) -> int:
    """How often the watchdog hears from us; the kernel keeps few datagrams, so they are taken out at once."""
    count = 0
    for now in instants:
        looking.look(float(now), LIMITS, children, children)
        count += heard(manager).count(b"WATCHDOG=1")
    return count


def test_one_that_waits_for_its_word_is_not_watched(board: Board, tmp_path: Path) -> None:
    """A delivery process that waits for the one before it, for as long as that takes."""
    log: list[Event] = []
    looking, manager = vigil(board.slot(0), tmp_path, log)
    waiting = child(board, "delivery", is_ready=False, is_single=True, pid=1 << 30)
    waiting.is_waiting = True
    with manager:
        for now in range(0, 1000, 5):
            looking.look(float(now), LIMITS, [waiting], [waiting])
            heard(manager)
    assert log == []
