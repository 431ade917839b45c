"""A worker's group: what it does before its turn, in its turn and after it."""

import asyncio
from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from relayd.spool.errors import SpoolError
from relayd.spool.turn import Turn
from tests.receive.house import House
from tests.spool.exchange import envelope

MAIL = b"Subject: hello\r\n\r\nHello.\r\n"


class Full(Disk):
    """A disk that has no room for a name."""

    def rename(self, path: str, target: str) -> None:
        raise MemoryError


async def committed(house: House, count: int) -> list["asyncio.Future[object]"]:
    """Hand in so many messages; what each comes to."""
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(count):
        draft = house.worker.intake.begin(envelope())
        draft.write(MAIL)
        future: asyncio.Future[object] = loop.create_future()
        house.worker.commit(draft, future.set_result)
        found.append(future)
    return found


async def until_written(house: House, count: int) -> None:
    """Wait until so many drafts are there."""
    async with asyncio.timeout(10):
        while len(house.files("tmp")) < count:
            await asyncio.sleep(0)


def test_what_waits_for_its_turn_is_written_and_takes_in_what_comes(tmp_path: Path) -> None:
    """Only the names and the wait for the medium are part of the turn; then all of them are one group."""

    async def main() -> None:
        house = House(tmp_path)
        turn = house.post.turn
        assert turn.take()
        first = await committed(house, 1)
        await until_written(house, 1)
        others = await committed(house, 3)
        for _ in range(3):
            await asyncio.sleep(0)
        assert house.files("new") == []
        turn.give()
        names = {await each for each in first + others}
        assert names == set(house.files("new"))
        assert len(house.worker._commits) == 1
        house.end()
        assert turn.take()

    asyncio.run(main())


@pytest.mark.parametrize("raises", [True, False])
def test_a_turn_is_given_back_whatever_comes_of_it(tmp_path: Path, raises: bool) -> None:
    """The other workers wait for it."""

    async def main() -> None:
        house = House(tmp_path, Full() if raises else None)
        (found,) = await committed(house, 1)
        assert isinstance(await found, SpoolError) is raises
        house.worker.end_threads(hanging=False)
        assert house.post.turn.take()

    asyncio.run(main())


def test_who_has_waited_long_enough_goes_on_without_its_turn(tmp_path: Path) -> None:
    """A worker that was killed in its turn holds up the others once."""

    async def main() -> None:
        house = House(tmp_path)
        house.worker._turn = Turn(0.001)
        assert house.worker._turn.take()
        (found,) = await committed(house, 1)
        name = await found
        assert house.files("new") == [name]
        house.end()

    asyncio.run(main())
