"""Commands: those that are open when other code is executed are answered by it."""

import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.base.channel import Channel, Operate, Operated
from relayd.base.counters import Board
from relayd.master.children import Child
from relayd.master.commands import Commands
from relayd.master.control import Control, OperatePlease, Request, StatusPlease, socket_path
from relayd.master.privileges import Identity

ME = Identity("me", os.geteuid(), os.getegid(), ())
_SECONDS = 5.0


class Office:
    """Commands with their control socket; `heard` is what was asked."""

    def __init__(self, folder: Path, listening: int | None = None) -> None:
        self.selector = selectors.DefaultSelector()
        self.control = Control(folder / "relayd.pid", ME, listening)
        self.heard: list[tuple[socket.socket, Request]] = []
        self.commands = Commands(self.selector, self.control, lambda *what: self.heard.append(what))

    def until(self, is_so: Callable[[], bool]) -> None:
        """Go round as the master does."""
        for _ in range(100):
            if is_so():
                return
            for key, _ in self.selector.select(_SECONDS / 100):
                key.data()
        pytest.fail("it did not come to that")

    def successor(self, folder: Path) -> "Office":
        """What other code makes of the descriptors."""
        silent, orders, last_ticket = self.commands.descriptors()
        new = Office(folder, os.dup(self.control.fileno()))
        copies = [socket.socket(fileno=os.dup(fd)) for fd in silent]
        new.commands.adopt(
            copies, {ticket: socket.socket(fileno=os.dup(fd)) for ticket, fd in orders.items()}, last_ticket
        )
        self.commands.close()
        self.selector.close()
        return new


def connected(folder: Path) -> socket.socket:
    """A command that has said nothing yet."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(_SECONDS)
    made.connect(str(socket_path(folder / "relayd.pid")))
    return made


def test_who_has_said_nothing_yet_is_heard_by_the_new_code(tmp_path: Path) -> None:
    """And so is who connects then, at the same socket."""
    old = Office(tmp_path)
    with connected(tmp_path) as early:
        old.until(lambda: bool(old.commands.descriptors()[0]))
        new = old.successor(tmp_path)
        early.sendall(b'{"ask": "status"}')
        new.until(lambda: len(new.heard) == 1)
        with connected(tmp_path) as late:
            late.sendall(b'{"ask": "status"}')
            new.until(lambda: len(new.heard) == 2)
    assert [request for _, request in new.heard] == [StatusPlease(), StatusPlease()]
    for connection, _ in new.heard:
        connection.close()
    new.control.remove()


def test_who_connects_and_says_nothing_is_dropped_and_keeps_nobody_awake(tmp_path: Path) -> None:
    """When its time is over, and not a moment before; who connected later has longer."""
    office = Office(tmp_path)
    with connected(tmp_path) as silent:
        assert office.commands.next_drop() is None
        office.until(lambda: office.commands.next_drop() is not None)
        due = office.commands.next_drop()
        assert due is not None
        with connected(tmp_path) as later:
            office.until(lambda: len(office.commands.descriptors()[0]) == 2)
            office.commands.drop_silent(due - 0.001)
            assert len(office.commands.descriptors()[0]) == 2
            office.commands.drop_silent(due)
            assert silent.recv(1) == b""
            assert len(office.commands.descriptors()[0]) == 1
            next_due = office.commands.next_drop()
            assert next_due is not None
            assert next_due > due
            office.commands.drop_silent(next_due)
            assert later.recv(1) == b""
    # Nothing is left to wake up for but who connects.
    assert office.commands.next_drop() is None
    assert [key.fileobj for key in office.selector.get_map().values()] == [office.control]
    assert office.heard == []
    office.control.remove()


def test_an_order_that_delivery_answers_after_the_exec_is_answered(tmp_path: Path) -> None:
    """By its ticket; the next one has another."""
    ours, theirs = Channel.pair()
    delivery = Child("delivery", lambda channel: 0, Board(2).slot(1), channel=ours, is_ready=True)
    asked = OperatePlease("remove", ("a",))
    old = Office(tmp_path)
    command, other = socket.socketpair()
    with command:
        old.commands.pass_on(other, asked, delivery)
        new = old.successor(tmp_path)
        other.close()
        new.commands.operated(Operated(1, ("gone",)))
        command.settimeout(_SECONDS)
        assert command.recv(100) == b'{"results":["gone"],"failure":""}'
        assert command.recv(100) == b""
    again, other = socket.socketpair()
    with again:
        new.commands.pass_on(other, asked, delivery)
        new.commands.drop_orders()
        assert b"the delivery process ended" in again.recv(200)
    said = [theirs.receive(), theirs.receive()]
    assert [each.ticket for each in said if isinstance(each, Operate)] == [1, 2]
    new.control.remove()
