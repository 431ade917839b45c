"""Power cuts under load, on a file system that loses what was not synced: nothing acknowledged is lost.

Several processes take mail in, in groups, and one delivers it, until the power fails at some moment. Then the
journal is played, a start recovers and drains, and what was promised is compared with what came. The table of it
is printed. The same without fsync must lose mail, or nothing is proved.
"""

import itertools
import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.spool.layout import Layout
from tests.crash import image, load
from tests.crash.facts import Key, Verdict, compare, read
from tests.crash.image import Image
from tests.crash.table import table

pytestmark = pytest.mark.long

CUTS = 100
# So many one after another before all that they left is delivered and compared.
CUTS_EACH = 4
CONTROL_CUTS = 4
# ext4 brings a new name to the medium with the sync of its file, so that what only the folder's sync saves is
# rare: one cut of ten or so finds it.
MOST_CONTROL_CUTS = 100
WORKERS = 3
# The load before a cut, in seconds.
_LOAD = (0.05, 0.6)
_DRAIN_SECONDS = 60.0
_WARM_SECONDS = 20.0

_processes = multiprocessing.get_context("forkserver")


@dataclass
class Life:
    """What several cuts came to, one after another; `notices` counts notifications.

    `verdicts` are of each cut and the time up to the next one; the last is after all was delivered. `wrong` is
    what no verdict has a word for.
    """

    verdicts: list[Verdict]
    notices: int
    wrong: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Recipients of acknowledged messages who neither got them nor were refused."""
        return len(self.verdicts[-1].lost)

    @property
    def owed(self) -> int:
        """Refused recipients of whom nobody was told."""
        return len(self.verdicts[-1].owed)

    @property
    def unexplained(self) -> list[Key]:
        """Who got a copy, of mail or of a notification, that the design has no window for."""
        return [*(key for verdict in self.verdicts for key in verdict.unexplained), *self.verdicts[-1].retold]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Image]:
    """An image whose power can be cut."""
    reason = image.missing()
    if reason:
        pytest.skip(reason)
    _processes.set_forkserver_preload([load.__name__])
    disk = Image(tmp_path)
    try:
        disk.make()
        yield disk
    finally:
        disk.unmount()


@contextmanager
def loaded(root: str, facts: Path, dice: random.Random, broken: str) -> Iterator[None]:
    """The load; at the end all of it is gone."""
    roles = [load.deliver, *[load.take_in] * WORKERS]
    processes = [
        _processes.Process(target=role, args=(root, facts, dice.randrange(1 << 30), broken), daemon=True)
        for role in roles
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def live(disk: Image, folder: Path, dice: random.Random, cuts: int = 1, broken: str = "") -> Life:
    """So many cuts at random moments, and what is found when all that they left is delivered."""
    facts = folder / "facts"
    facts.write_text("")
    layout = Layout(str(disk.root / "spool"))
    layout.create()
    known = []
    for _ in range(cuts):
        seen = facts.stat().st_size
        with loaded(layout.root, facts, dice, broken):
            deadline = time.monotonic() + _WARM_SECONDS
            while "taken" not in facts.read_text()[seen:]:
                assert time.monotonic() < deadline, "no mail comes through"
                time.sleep(0.01)
            # No moment is waited for: any will do.
            time.sleep(dice.uniform(*_LOAD))
            disk.cut()
        disk.repair()
        known.append(read(facts.read_text().splitlines()))
    drain = _processes.Process(target=load.drain, args=(layout.root, facts), daemon=True)
    drain.start()
    drain.join(_DRAIN_SECONDS)
    drain.kill()
    drain.join()
    known.append(read(facts.read_text().splitlines()))
    wrong = [] if drain.exitcode == 0 else [f"the last start ended with {drain.exitcode}"]
    for state in ("tmp", "new", "cur", "hold", "failed", "journal"):
        wrong += [f"{path.parent.name}/{path.name} is left" for path in Path(layout.folder(state)).iterdir()]
    return Life(
        verdicts=[compare(before, after, before.durable) for before, after in itertools.pairwise(known)],
        notices=len(set().union(*known[-1].notices.values())),
        wrong=[*known[-1].bugs, *wrong],
    )


def row(what: str, lives: list[Life]) -> list[object]:
    """A row of the table."""
    return [
        what,
        sum(len(life.verdicts) for life in lives),
        sum(life.verdicts[-1].acknowledged for life in lives),
        sum(life.notices for life in lives),
        sum(life.lost for life in lives),
        sum(life.owed for life in lives),
        sum(life.verdicts[-1].copies for life in lives),
        sum(len(life.unexplained) for life in lives),
    ]


HEAD = ["power cuts", "cuts", "acknowledged", "notices", "lost", "notices lost", "copies", "unexplained"]


def test_a_power_cut_loses_nothing(disk: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mail and owed notifications; and nobody gets another copy of what was durable."""
    dice = random.Random(1)
    lives = [live(disk, tmp_path, dice, CUTS_EACH) for _ in range(CUTS // CUTS_EACH)]
    with capsys.disabled():
        print("\n\n" + table(HEAD, [row("as it is", lives)]))
    assert [wrong for life in lives for wrong in life.wrong] == []
    assert [(life.lost, life.owed, life.unexplained) for life in lives] == [(0, 0, [])] * len(lives)


def test_without_fsync_the_cuts_find_losses(
    disk: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of sync is needed, and its lack shows."""
    rows = []
    for broken in filter(None, load.DISKS):
        lives: list[Life] = []
        while len(lives) < CONTROL_CUTS or not any(life.lost or life.owed for life in lives):
            assert len(lives) < MOST_CONTROL_CUTS, f"{broken}: nothing was lost"
            disk.make()
            lives.append(live(disk, tmp_path, random.Random(len(lives)), broken=broken))
        rows.append(row(broken, lives))
    with capsys.disabled():
        print("\n\n" + table(HEAD, rows))
