"""An acceptor: one connection in a turn, none lost between its being accepted and its session."""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
import uvloop

from relayd.base.tally import Tally
from relayd.receive.acceptor import Acceptor
from relayd.receive.standby import Standby, leave_nothing

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a test on each of the loops."""

    def on_it(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(asyncio.wait_for(main, 10))

    return on_it


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


class Sessions(asyncio.Protocol):
    """What serves connections, all of them."""

    def __init__(self) -> None:
        self.began: list[object] = []
        self.errors: list[OSError] = []
        self.settled = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.began.append(transport.get_extra_info("peername"))

    def acceptor(self, listener: socket.socket, wait: Callable[[float], float] = leave_nothing) -> Acceptor:
        """One that makes them."""
        loop = asyncio.get_running_loop()
        return Acceptor(loop, listener, lambda: self, self.errors.append, self.settled.set, wait)


class Odd(socket.socket):
    """A listener on which accept fails with some errors first."""

    failures: list[int]

    def accept(self) -> Any:
        if self.failures:
            code = self.failures.pop(0)
            raise OSError(code, "an error")
        return super().accept()


def odd(listener: socket.socket, *failures: int) -> Odd:
    """The same socket with failures."""
    made = Odd(fileno=listener.detach())
    made.failures = list(failures)
    return made


def clients(listener: socket.socket, count: int) -> list[socket.socket]:
    """So many that wait."""
    return [socket.create_connection(listener.getsockname()) for _ in range(count)]


def standby() -> Callable[[float], float]:
    """The word of one that stands by."""
    return Standby(Tally(1).hand(0)).wait


async def accept(acceptors: Sequence[Acceptor], is_done: Callable[[], bool]) -> None:
    """Let them take clients until it is done."""
    for each in acceptors:
        each.open()
    while not is_done():
        await asyncio.sleep(0)
    for each in acceptors:
        each.close()


def test_of_two_that_share_a_listener_none_takes_all(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """Twenty clients that wait are shared by turns."""

    async def main() -> None:
        waiting = clients(listener, 20)
        one, other = Sessions(), Sessions()
        acceptors = [one.acceptor(listener), other.acceptor(listener.dup())]
        await accept(acceptors, lambda: len(one.began) + len(other.began) == 20)
        assert sorted([*one.began, *other.began]) == sorted(each.getsockname() for each in waiting)  # type: ignore[type-var]
        assert min(len(one.began), len(other.began)) >= 5
        for client in waiting:
            client.close()

    run(main())


def test_one_that_stands_by_leaves_connections_to_the_others(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """Twenty clients that wait come to the other."""

    async def main() -> None:
        waiting = clients(listener, 20)
        one, other = Sessions(), Sessions()
        acceptors = [one.acceptor(listener, standby()), other.acceptor(listener.dup())]
        await accept(acceptors, lambda: len(one.began) + len(other.began) == 20)
        assert one.began == []
        for client in waiting:
            client.close()

    run(main())


def test_one_that_stands_by_takes_what_no_other_takes(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """All of a hundred: the others hang, or are gone."""

    async def main() -> None:
        waiting = clients(listener, 100)
        sessions = Sessions()
        await accept([sessions.acceptor(listener, standby())], lambda: len(sessions.began) == 100)
        for client in waiting:
            client.close()

    run(main())


def test_one_that_is_closed_while_it_leaves_a_connection_takes_none(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """The others do."""

    async def main() -> None:
        (client,) = clients(listener, 1)
        sessions, other = Sessions(), listener.dup()
        acceptor = sessions.acceptor(listener, standby())
        acceptor.open()
        acceptor._see()
        acceptor.close()
        assert acceptor.is_settled
        await asyncio.sleep(0.05)
        assert sessions.began == []
        assert other.accept()[1] == client.getsockname()
        other.close()
        client.close()

    run(main())


def test_what_was_accepted_before_the_end_becomes_a_session(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """And the worker hears when there is nothing in between any more."""

    async def main() -> None:
        (client,) = clients(listener, 1)
        sessions = Sessions()
        acceptor = sessions.acceptor(listener)
        acceptor.open()
        acceptor._accept()
        acceptor.close()
        assert not acceptor.is_settled
        await sessions.settled.wait()
        assert acceptor.is_settled
        assert sessions.began == [client.getsockname()]
        assert listener.fileno() == -1
        client.close()

    run(main())


def test_one_that_has_nothing_in_between_is_settled_as_it_closes(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """Nobody waits for it."""

    async def main() -> None:
        acceptor = Sessions().acceptor(listener)
        acceptor.open()
        assert not acceptor.is_settled
        acceptor.close()
        assert acceptor.is_settled

    run(main())


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ECONNABORTED, errno.EPROTO])
def test_a_connection_that_is_gone_again_is_no_failure(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket, code: int
) -> None:
    """The next one is served."""

    async def main() -> None:
        (client,) = clients(listener, 1)
        sessions = Sessions()
        acceptor = sessions.acceptor(odd(listener, code))
        acceptor.open()
        while not sessions.began:
            await asyncio.sleep(0)
        assert sessions.errors == []
        acceptor.close()
        client.close()

    run(main())


def test_a_lack_of_descriptors_is_told_and_passes(
    run: Callable[[Coroutine[Any, Any, None]], None], listener: socket.socket
) -> None:
    """Without spinning: the listener is left alone for a second."""

    async def main() -> None:
        (client,) = clients(listener, 1)
        sessions = Sessions()
        acceptor = sessions.acceptor(odd(listener, errno.EMFILE))
        acceptor.open()
        while not sessions.began:
            await asyncio.sleep(0.01)
        assert [error.errno for error in sessions.errors] == [errno.EMFILE]
        acceptor.close()
        client.close()

    run(main())
