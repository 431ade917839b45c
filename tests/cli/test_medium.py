"""What is said of the file system that mail is kept on."""

from pathlib import Path

import pytest

from relayd.cli.medium import about, kind_of

MOUNTS = [("/", "ext4"), ("/var", "xfs"), ("/var/spool/relayd", "nfs4"), ("/variable", "tmpfs"), ("/var", "btrfs")]


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/home/spool", "ext4"),
        ("/var/spool", "btrfs"),
        ("/var/spool/relayd/spool", "nfs4"),
        ("/variable/spool", "tmpfs"),
        ("/var/spool/relayd2", "btrfs"),
    ],
)
def test_the_nearest_mount_point_counts(directory: str, kind: str) -> None:
    """By whole names, and of two at one place the one on top."""
    assert kind_of(Path(directory), MOUNTS) == kind


def test_memory_and_networks_are_warned_of() -> None:
    """Everything else is not."""
    spool = Path("/spool")
    assert "memory" in (about(spool, "tmpfs") or "")
    assert "network" in (about(spool, "nfs4") or "")
    assert about(spool, "ext4") is None
