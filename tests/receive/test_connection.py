"""A connection reads only as fast as it can answer, and does not wait for ever."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

from relayd.spool.intake import LARGE
from tests.receive.house import BEGINNING, Gate, House, Transport, later, reached

MINUTES = 60.0
TIMEOUT = 5 * MINUTES


def test_five_minutes_of_silence_end_a_session(play: Callable[..., None]) -> None:
    """421 4.4.2, and not a moment earlier."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.sweep(later(TIMEOUT - 1), TIMEOUT)
        assert not transport.is_closing()
        connection.sweep(later(TIMEOUT + 1), TIMEOUT)
        assert transport.replies() == ["421 4.4.2 relay.example.org Error: timeout exceeded"]
        assert transport.is_closed
        connection.connection_lost(None)
        assert house.events("session.closed")[0]["reason"] == "timeout"

    play(scene)


def test_a_command_that_never_ends_is_silence(play: Callable[..., None]) -> None:
    """An octet now and then does not keep a session open."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(b"NO")
        heard = connection._heard
        connection.data_received(b"O")
        assert connection._heard == heard
        connection.data_received(b"P\r\n")
        assert connection._heard > heard
        connection.data_received(b"N")
        connection.sweep(later(TIMEOUT + 1), TIMEOUT)
        assert transport.replies()[-1].startswith("421 4.4.2 ")

    play(scene)


def test_mail_data_that_comes_slowly_is_no_silence(play: Callable[..., None]) -> None:
    """Each octet of it counts, as a person types it."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        heard = connection._heard
        connection.data_received(b"x")
        assert connection._heard > heard
        connection.sweep(later(TIMEOUT - 1), TIMEOUT)
        assert not transport.is_closing()

    play(scene)


def test_mail_data_that_dribbles_for_an_hour_ends_the_session(play: Callable[..., None]) -> None:
    """However regularly the octets come; what is fast enough may take as long as it takes."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * 1000)
        connection._heard = later(61 * MINUTES)
        connection.sweep(later(59 * MINUTES), TIMEOUT)
        assert not transport.is_closing()
        connection.sweep(later(61 * MINUTES), TIMEOUT)
        assert transport.replies()[-1].startswith("421 4.4.2 ")
        connection.connection_lost(None)

        other = Transport()
        connection = house.connection(other)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * 200_000)
        assert connection._reception._incoming is not None
        connection._reception._incoming.pace.began = later(-150)
        connection.sweep(later(1), 10.0)
        assert not other.is_closing()
        connection.connection_lost(None)
        assert house.files("tmp") == []

    play(scene)


def test_a_client_that_does_not_read_is_not_read(play: Callable[..., None]) -> None:
    """And its session is over when it has not done so for five minutes."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.pause_writing()
        assert not transport.reads
        connection.resume_writing()
        assert transport.reads
        connection.pause_writing()
        connection.sweep(later(TIMEOUT + 1), TIMEOUT)
        assert transport.is_closed
        # The transport waits for the client to read the last replies; nobody else does.
        connection.sweep(later(29), TIMEOUT)
        assert not transport.is_aborted
        connection.sweep(later(31), TIMEOUT)
        assert transport.is_aborted
        connection.connection_lost(None)
        assert house.events("session.closed")[0]["reason"] == "timeout"

    play(scene)


def test_replies_to_one_segment_wait_until_those_before_them_are_read(tmp_path: Path) -> None:
    """A quarter of a MiB of tiny chunks asks for nearly one of replies, and a client may have many sessions.

    Nothing is lost when the client has said all that it will say.
    """

    class Full(Transport):
        """Its buffer's high-water mark is that of the event loops."""

        def write(self, data: object) -> None:
            super().write(data)
            if len(self.written) > 65_536 and not self.is_full:
                self.is_full = True
                self.protocol.pause_writing()

        is_full = False

    async def main() -> None:
        house, transport = House(tmp_path), Full()
        connection = house.connection(transport)
        connection.data_received(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n")
        transport.taken()
        connection.data_received(b"BDAT 1\r\na" * 28_000 + b"QUIT\r\n")
        assert connection.eof_received()
        heard = b""
        while transport.is_full:
            assert len(transport.written) < 80_000
            assert not transport.is_closed
            heard += transport.taken()
            transport.is_full = False
            connection.resume_writing()
        heard += transport.taken()
        assert heard == b"250 2.0.0 1 octets received\r\n" * 28_000 + b"221 2.0.0 Bye\r\n"
        assert transport.is_closed
        connection.connection_lost(None)
        house.end()

    asyncio.run(main())


def test_a_client_that_does_not_read_has_no_longer_than_others_to_leave(play: Callable[..., None]) -> None:
    """When the service ends."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.pause_writing()
        house.worker.is_retiring = True
        connection.retire(at_once=False)
        assert [reply[:3] for reply in transport.replies()] == ["421"]
        assert transport.is_closed
        connection.connection_lost(None)

    play(scene)


def test_a_transport_that_closes_or_has_ended_is_left_alone(play: Callable[..., None]) -> None:
    """It is not asked to stop reading, whatever it still has to say itself."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(b"QUIT\r\n")
        assert transport.is_closed
        connection.pause_writing()
        connection.resume_writing()
        connection.retire(at_once=True)
        assert transport.replies() == ["221 2.0.0 Bye"]

        other = Transport()
        connection = house.connection(other)
        connection.data_received(BEGINNING)
        connection.data_received(b"Hi\r\n.\r\n")
        assert connection.eof_received()
        connection.pause_writing()
        other.replies()
        await other.next_replies()
        assert other.switches == 0

    play(scene)


def test_a_session_that_waits_for_the_disk_is_not_timed_out(play: Callable[..., None]) -> None:
    """The silence is ours then."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        transport.replies()
        connection.data_received(b"Hi\r\n.\r\n")
        await reached(gate)
        connection.sweep(later(TIMEOUT + 1), TIMEOUT)
        assert not transport.is_closing()
        gate.opened.set()
        assert (await transport.next_replies())[0].startswith("250 2.0.0 Ok: queued as ")

    gate = Gate("sync_folder")
    play(scene, gate)


def test_a_client_that_waits_for_its_250_costs_no_switching(play: Callable[..., None]) -> None:
    """Reading goes on during the commit, since nothing comes."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        for _ in range(3):
            connection.data_received(BEGINNING)
            transport.replies()
            connection.data_received(b"Hi\r\n.\r\n")
            await transport.next_replies()
        assert transport.switches == 0

    play(scene)


def test_what_is_pipelined_behind_a_final_dot_waits(play: Callable[..., None]) -> None:
    """One read is kept; no more is read before the verdict, and the replies keep their order."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        transport.replies()
        connection.data_received(b"Hi\r\n.\r\nNOOP\r\n")
        await reached(gate)
        assert transport.reads
        connection.data_received(b"VRFY a\r\n")
        assert not transport.reads
        assert transport.replies() == []
        gate.opened.set()
        replies = await transport.next_replies()
        assert [reply[:9] for reply in replies] == ["250 2.0.0", "250 2.0.0", "252 2.0.0"]
        assert "queued" in replies[0]
        assert transport.reads

    gate = Gate("sync_folder")
    play(scene, gate)


def test_nothing_is_read_while_a_large_message_goes_to_disk(play: Callable[..., None]) -> None:
    """At most one read more than what the thread writes is in memory."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        transport.replies()
        line = b"x" * 998 + b"\r\n"
        connection.data_received(line * (LARGE // 1000 + 1))
        await reached(gate)
        connection.data_received(line * 100)
        assert not transport.reads
        gate.opened.set()
        connection.data_received(b".\r\n")
        assert (await transport.next_replies())[0].startswith("250 ")
        assert transport.reads
        (name,) = house.files("new")
        assert (house.spool / "new" / name).read_bytes().endswith(b"\n" + line * (LARGE // 1000 + 101))

    gate = Gate("write")
    play(scene, gate)


def test_a_disk_that_is_full_gets_its_room_back_at_once(play: Callable[..., None]) -> None:
    """What was written of a large message is gone before its final dot, which then hears of it."""

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * (LARGE + 1))
        await reached(gate)
        gate.opened.set()
        while connection.is_busy:
            await asyncio.sleep(0)
        assert house.files("tmp") == []
        connection.data_received(b"x" * LARGE)
        transport.replies()
        connection.data_received(b"\r\n.\r\nNOOP\r\n")
        assert [reply[:9] for reply in transport.replies()] == ["452 4.3.1", "250 2.0.0"]

    gate = Gate("write", OSError(errno.ENOSPC, "No space left on device"))
    play(scene, gate)


def test_a_large_message_on_its_way_to_the_medium_holds_up_nobody(play: Callable[..., None]) -> None:
    """Its fsync is not the committer's."""

    class LargeGate(Gate):
        def sync(self, fd: int) -> None:
            if os.fstat(fd).st_size > LARGE:
                super().sync(fd)

    async def scene(house: House, transport: Transport) -> None:
        connection = house.connection(transport)
        connection.data_received(BEGINNING)
        connection.data_received(b"x" * (LARGE + 1) + b"\r\n.\r\n")
        await reached(gate)
        transport.replies()
        other = Transport()
        neighbour = house.connection(other)
        neighbour.data_received(BEGINNING)
        other.replies()
        neighbour.data_received(b"Hi\r\n.\r\n")
        assert "queued" in (await other.next_replies())[0]
        assert transport.replies() == []
        gate.opened.set()
        assert "queued" in (await transport.next_replies())[0]

    gate = LargeGate("sync")
    play(scene, gate)
