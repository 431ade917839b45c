"""What the live tests begin with: a worker as it comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receive.live import LOOPS, Live, live


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Live]:
    """A worker with an open door for this host."""
    with live(tmp_path) as running:
        yield running


@pytest.fixture(params=LOOPS)
def on_each_loop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Live]:
    """The same on each loop, for what the loops do differently."""
    with live(tmp_path, loop=request.param) as running:
        yield running
