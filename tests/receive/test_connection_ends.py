"""A connection ends with its client, with its worker or by a defect, and leaves nothing behind."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.receive.connection import Connection
from relayd.spool.disk import Disk
from relayd.spool.intake import LARGE
from tests.receive.house import BEGINNING, Gate, House, Transport, ended, reached


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"HEL"],
        [BEGINNING],
        [BEGINNING, b"x\r\n"],
        [BEGINNING, b"x\r\n."],
        [BEGINNING, b"x" * 10_000],
    ],
)
@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_goes_leaves_nothing(play: Callable[..., None], said: list[bytes], politely: bool) -> None:
    """Whatever it has said so far, with the end of file or with a reset."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        for octets in said:
            connection.data_received(octets)
        if politely:
            assert not connection.eof_received()
        connection.connection_lost(None if politely else ConnectionResetError())
        assert house.files("tmp") == house.files("new") == []
        (closed,) = house.events("session.closed")
        assert closed["reason"] == ("client closed" if politely else "connection lost")

    play(scene)


@pytest.mark.parametrize("failure", [None, OSError(5, "I/O error")])
def test_a_client_that_goes_while_its_large_message_is_written_leaves_nothing(
    play: Callable[..., None], failure: OSError | None
) -> None:
    """The thread has the draft; it is discarded when it gives it back."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * (LARGE + 1))
        await reached(gate)
        connection.connection_lost(ConnectionResetError())
        assert len(house.files("tmp")) == 1
        assert house.events("session.closed") == []
        gate.opened.set()
        await ended(house, 1)
        assert house.files("tmp") == house.files("new") == []

    gate = Gate("write", failure)
    play(scene, gate)


def test_a_client_that_goes_during_the_commit_has_left_a_message(play: Callable[..., None]) -> None:
    """It is durable and will be delivered, and the log says so before the session's end."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"Hi\r\n.\r\n")
        await reached(gate)
        connection.connection_lost(ConnectionResetError())
        gate.opened.set()
        await ended(house, 1)
        assert len(house.files("new")) == 1
        assert house.files("tmp") == []
        (accepted,) = house.events("message.accepted")
        assert accepted["size"] == 4
        assert house.events("session.closed")[0]["messages"] == 1

    gate = Gate("sync_folder")
    play(scene, gate)


def test_a_client_that_goes_before_a_failed_commit_leaves_nothing(play: Callable[..., None]) -> None:
    """Neither a file nor a session."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"Hi\r\n.\r\n")
        await reached(gate)
        connection.connection_lost(None)
        gate.opened.set()
        await ended(house, 1)
        assert house.files("tmp") == house.files("new") == []
        assert house.events("message.refused")[0]["reply"].startswith("451 4.3.0 ")

    gate = Gate("sync", OSError(5, "I/O error"))
    play(scene, gate)


def test_a_client_that_says_all_at_once_and_no_more_hears_everything(play: Callable[..., None]) -> None:
    """As nc does: the socket stays open for us until the message is safe and the rest is answered."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"Hi\r\n.\r\nNOOP\r\n")
        assert connection.eof_received()
        await reached(gate)
        transport.replies()
        gate.opened.set()
        replies = await transport.next_replies()
        assert "queued" in replies[0]
        assert replies[1] == "250 2.0.0 Ok"
        # After the end of file a transport is not asked to read.
        assert transport.switches == 0
        assert transport.is_closed
        connection.connection_lost(None)
        assert house.events("session.closed")[0]["reason"] == "client closed"

    gate = Gate("sync_folder")
    play(scene, gate)


def test_a_client_that_went_before_the_greeting_is_no_session(play: Callable[..., None]) -> None:
    """A socket without a peer is closed."""

    async def scene(house: House, transport: Transport) -> None:
        nobody = Transport(None)
        connection = Connection(house.worker, house.post.config.listeners[0])
        connection.connection_made(nobody)
        assert nobody.is_aborted
        assert nobody.written == b""
        connection.connection_lost(None)
        assert house.post.slot.get("sessions") == 0

    play(scene)


def test_a_session_without_a_transaction_ends_at_once(play: Callable[..., None]) -> None:
    """Section 3.8: 421 at any time."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        house.worker.is_retiring = True
        connection.retire(at_once=False)
        assert transport.replies() == ["421 4.3.2 relay.example.org Service shutting down, closing channel"]
        assert transport.is_closed

    play(scene)


@pytest.mark.parametrize("end", [b"RSET\r\n", b"HELO again\r\n"])
def test_a_transaction_has_its_time_and_no_second_one_follows(play: Callable[..., None], end: bytes) -> None:
    """421 as soon as it is over, in the same breath as its last reply."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(b"HELO c\r\nMAIL FROM:<>\r\n")
        house.worker.is_retiring = True
        connection.retire(at_once=False)
        connection.data_received(b"RCPT TO:<b@example.net>\r\n")
        assert [reply[:3] for reply in transport.replies()] == ["250", "250", "250"]
        connection.data_received(end + b"MAIL FROM:<>\r\n")
        assert [reply[:3] for reply in transport.replies()][-1] == "421"
        assert transport.is_closed

    play(scene)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("failure", [None, OSError(5, "I/O error")])
def test_a_verdict_that_is_owed_is_said_before_421(
    play: Callable[..., None], at_once: bool, failure: OSError | None
) -> None:
    """A client that heard 421 instead would send again what is delivered."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        transport.replies()
        connection.data_received(b"Hi\r\n.\r\nMAIL FROM:<>\r\n")
        await reached(gate)
        house.worker.is_retiring = True
        connection.retire(at_once=at_once)
        assert transport.replies() == []
        gate.opened.set()
        replies = await transport.next_replies()
        assert [reply[:9] for reply in replies] == ["451 4.3.0" if failure else "250 2.0.0", "421 4.3.2"]
        assert transport.is_closed
        connection.connection_lost(None)
        assert len(house.files("new")) == (0 if failure else 1)
        assert house.files("tmp") == []

    gate = Gate("sync", failure)
    play(scene, gate)


def test_time_that_is_up_ends_a_transaction(play: Callable[..., None]) -> None:
    """421 in the middle of mail data, and what has come of it is dropped."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * 10_000)
        transport.replies()
        house.worker.is_retiring = True
        connection.retire(at_once=False)
        assert transport.replies() == []
        connection.retire(at_once=True)
        assert transport.replies()[0].startswith("421 4.3.2 ")
        connection.connection_lost(None)
        assert house.files("tmp") == []

    play(scene)


def test_time_that_is_up_while_a_large_message_is_written_ends_it_after_that(play: Callable[..., None]) -> None:
    """The draft belongs to the thread until then; no file stays."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * (LARGE + 1))
        transport.replies()
        await reached(gate)
        house.worker.is_retiring = True
        connection.retire(at_once=True)
        assert transport.replies() == []
        gate.opened.set()
        assert (await transport.next_replies())[0].startswith("421 4.3.2 ")
        connection.connection_lost(None)
        assert house.files("tmp") == []

    gate = Gate("write")
    play(scene, gate)


def test_a_client_that_comes_too_late_is_told(play: Callable[..., None]) -> None:
    """It was accepted in the turn in which the worker began to retire."""

    async def scene(house: House, transport: Transport) -> None:
        house.worker.is_retiring = True
        connection = Connection(house.worker, house.post.config.listeners[0])
        connection.connection_made(transport)
        assert [reply[:3] for reply in transport.replies()] == ["220", "421"]
        assert transport.is_closed
        connection.connection_lost(None)

    play(scene)


def test_a_session_that_the_process_leaves_behind_leaves_nothing(play: Callable[..., None]) -> None:
    """A client that does not even read its 421: the file in tmp/ goes, and the end is written down, once."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * (LARGE + 1))
        await reached(gate)
        gate.opened.set()
        while connection.is_busy:
            await asyncio.sleep(0)
        assert len(house.files("tmp")) == 1
        connection.abandon()
        assert transport.is_aborted
        connection.connection_lost(None)
        assert house.files("tmp") == []
        assert len(house.events("session.closed")) == 1

    gate = Gate("write")
    play(scene, gate)


def test_a_defect_ends_its_session_and_no_other(tmp_path: Path) -> None:
    """It is written down, the client hears 421, and nothing stays in tmp/."""

    class Broken(Disk):
        def free(self, path: str) -> tuple[int, int]:
            raise RuntimeError("a defect")

    async def main() -> None:
        house = House(tmp_path, Broken())
        transport, other = Transport(), Transport()
        connection, neighbour = house.connection(transport), house.connection(other)
        connection.data_received(b"HELO c\r\nMAIL FROM:<>\r\n")
        assert [reply[:3] for reply in transport.replies()] == ["250", "421"]
        connection.connection_lost(None)
        neighbour.data_received(b"NOOP\r\n")
        assert other.replies() == ["250 2.0.0 Ok"]
        assert house.events("session.closed")[0]["reason"] == "internal error"
        assert "a defect" in house.events("bug")[0]["traceback"]
        assert house.post.slot.get("bugs") == 1
        house.worker.end_threads(hanging=False)

    asyncio.run(main())


def test_a_defect_at_a_deadline_ends_its_session_and_no_other(tmp_path: Path) -> None:
    """Each is looked at, whatever the one before it came to."""

    class Broken(Transport):
        def write(self, data: object) -> None:
            if bytes(data).startswith(b"421"):  # type: ignore[call-overload]
                raise RuntimeError("a defect")
            super().write(data)

    async def main() -> None:
        house = House(tmp_path)
        transports = [Broken(), Broken(), Broken()]
        connections = [house.connection(transport) for transport in transports]
        for connection in connections:
            connection._heard -= 301
        house.worker._sweep()
        assert all(transport.is_closing() for transport in transports)
        for connection in connections:
            connection.connection_lost(None)
        assert len(house.events("bug")) == 3
        house.worker.end_threads(hanging=False)

    asyncio.run(main())


def test_a_defect_in_the_committer_is_a_451_for_its_group(tmp_path: Path) -> None:
    """The session goes on."""

    class Broken(Disk):
        def sync_folder(self, path: str) -> None:
            raise RuntimeError("a defect")

    async def main() -> None:
        house = House(tmp_path, Broken())
        transport = Transport()
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        transport.replies()
        connection.data_received(b"Hi\r\n.\r\n")
        assert [reply[:9] for reply in await transport.next_replies()] == ["451 4.3.0"]
        connection.data_received(b"NOOP\r\n")
        assert transport.replies() == ["250 2.0.0 Ok"]
        assert "a defect" in house.events("bug")[0]["traceback"]
        house.worker.end_threads(hanging=False)

    asyncio.run(main())


@pytest.mark.parametrize("said", [b"QUIT\r\n", BEGINNING])
def test_what_is_over_goes_without_a_search_for_cycles(play: Callable[..., None], said: bytes) -> None:
    """A search takes longer the more there is, and whoever comes for each message leaves much behind."""

    async def scene(house: House, transport: Transport) -> None:
        # Not the one that the scene holds.
        transport = Transport()
        connection = house.connection(transport)
        connection.data_received(said)
        connection.connection_lost(None)
        # As an event loop does.
        del transport.protocol
        held = weakref.ref(transport)
        gc.disable()
        del transport, connection
        is_gone = held() is None
        gc.enable()
        assert is_gone

    play(scene)
