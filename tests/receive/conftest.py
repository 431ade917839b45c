"""What the tests of the receiving floor begin with: a scene in a house, and a live worker on each loop."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from tests.receive.house import House, Play, Transport
from tests.receive.live import LOOPS, Live, live


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Runs a scene in a house with one transport."""

    def run(scene: Play, disk: Disk | None = None) -> None:
        async def main() -> None:
            house = House(tmp_path, disk)
            await scene(house, Transport())
            house.end()

        asyncio.run(main())

    return run


@pytest.fixture(params=LOOPS)
def worker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Live]:
    """A worker as it comes, on each loop."""
    with live(tmp_path, loop=request.param) as running:
        yield running
