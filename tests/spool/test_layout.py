"""The layout: folders for their owner only, names that say what they should, and no other program's directory."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.spool.errors import WrongSpool
from relayd.spool.ids import Ids
from relayd.spool.layout import Layout, name_of, parse_name, parse_prepared
from tests.spool.crash import LAYOUT, memory_disk
from tests.spool.memory_disk import Image, MemoryDisk


def test_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    """Whatever the umask says."""
    layout = Layout(str(tmp_path / "deep" / "spool"))
    before = os.umask(0)
    try:
        layout.create()
    finally:
        os.umask(before)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(layout.root)}
    folders = ("tmp", "new", "cur", "hold", "failed", "journal", "ledger", "reserve")
    assert modes == {**dict.fromkeys(folders, 0o700), "format": 0o600}


def test_to_create_again_adds_what_is_missing(tmp_path: Path) -> None:
    """And leaves the rest."""
    layout = Layout(str(tmp_path))
    layout.create()
    (tmp_path / "new" / "x").touch()
    (tmp_path / "reserve").rmdir()
    layout.create()
    layout.check_use()
    assert os.listdir(tmp_path / "new") == ["x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, which only root can")
def test_root_makes_it_for_its_owner(tmp_path: Path) -> None:
    """The relay does not run as root."""
    Layout(str(tmp_path / "spool")).create((65534, 65534))
    for entry in os.scandir(tmp_path / "spool"):
        assert (entry.stat().st_uid, entry.stat().st_gid) == (65534, 65534), entry.name


def test_a_directory_with_a_readme_and_a_pid_file_can_become_a_spool(tmp_path: Path) -> None:
    """As in a fresh checkout."""
    (tmp_path / "README.md").touch()
    (tmp_path / "relayd.pid").touch()
    (tmp_path / "lost+found").mkdir()
    Layout(str(tmp_path)).create()
    Layout(str(tmp_path)).check_use()


def test_another_programs_directory_is_refused(tmp_path: Path) -> None:
    """A maildir has folders of the same names, and mail in them that is not ours."""
    (tmp_path / "new").mkdir()
    (tmp_path / "cur").mkdir()
    with pytest.raises(WrongSpool, match="no spool of relayd, and not empty: it has a folder"):
        Layout(str(tmp_path)).create()
    assert sorted(os.listdir(tmp_path)) == ["cur", "new"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"relayd spool 2\n", "is in format 2; this relayd reads format 1 only"),
        (b"", "does not say so"),
        (b"something else\n", "does not say so"),
        (b"relayd spool 1", "does not say so"),
    ],
)
def test_a_spool_of_another_version_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """With the one line that says why, before anything is touched."""
    layout = Layout(str(tmp_path))
    layout.create()
    (tmp_path / "format").write_bytes(content)
    for refuse in (layout.create, layout.check, layout.check_use):
        with pytest.raises(WrongSpool, match=said):
            refuse()


def test_a_directory_without_a_format_is_no_spool(tmp_path: Path) -> None:
    """A worker that starts there would write mail that nobody delivers."""
    with pytest.raises(WrongSpool, match="there is no file "):
        Layout(str(tmp_path)).check_use()


def test_a_spool_that_cannot_be_written_is_refused() -> None:
    """Delivering from it would send everything again and again."""
    disk = memory_disk()
    del disk.folders[LAYOUT.folder("journal")]
    with pytest.raises(PermissionError, match="journal: not writable for uid 1000"):
        LAYOUT.check_use(disk=disk)


def test_a_crash_while_it_is_made_leaves_what_can_be_finished() -> None:
    """After every step."""
    images: list[Image] = []
    disk = MemoryDisk()

    def step(operation: str, path: str) -> None:
        images.extend(image for image, _ in disk.images())

    disk.stepped = step
    LAYOUT.create(disk=disk)
    assert images
    for image in images:
        after = MemoryDisk.after(image, {LAYOUT.root: disk.folders[LAYOUT.root]}, disk.clock)
        LAYOUT.create(disk=after)
        LAYOUT.check_use(disk=after)


def test_a_name_says_id_and_size() -> None:
    """And is read again."""
    message_id = Ids().next()
    assert parse_name(name_of(message_id, 4096)) == (message_id, 4096)


@pytest.mark.parametrize("size", ["", "-1", "01", "1x", " 1", "1\n", "\u0661", "9" * 16, "1.1"])
def test_a_name_with_another_size_is_none(size: str) -> None:
    """Only the one way in which we write it."""
    assert parse_name(f"{Ids().next()},S={size}") is None


@given(st.text())
def test_any_name_is_ours_or_not(name: str) -> None:
    """And none raises."""
    parsed = parse_name(name)
    assert parsed is None or name_of(*parsed) == name
    assert parse_prepared(name) is None or "." in name


def test_a_notification_that_is_written_says_what_it_is_about() -> None:
    """The message and the attempt."""
    message_id = Ids().next()
    assert parse_prepared(f"{message_id}.12") == (message_id, 12)
    for other in [message_id, f"{message_id}.", f"{message_id}.x", f"x.{message_id}", f"{message_id}.1234567890"]:
        assert parse_prepared(other) is None
