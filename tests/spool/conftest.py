"""What several tests of the spool share."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from relayd.spool.disk import Disk
from relayd.spool.layout import Layout


class HastyDisk(Disk):
    """A real disk that waits for no medium, for tests that do not pull the plug."""

    def sync(self, fd: int) -> None:
        self.stat(fd)

    def sync_folder(self, path: str) -> None:
        self.lstat(path)


@dataclass
class RealSpool:
    """An empty spool on a real disk."""

    layout: Layout
    disk: Disk


@pytest.fixture
def real_spool(tmp_path: Path) -> RealSpool:
    """See RealSpool."""
    layout = Layout(str(tmp_path / "spool"))
    layout.create()
    return RealSpool(layout, HastyDisk())
